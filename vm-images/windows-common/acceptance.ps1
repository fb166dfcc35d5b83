# Asked over WinRM in the acceptance boot: what only WMI knows. Answers one line of JSON.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$windows = '55c92734-d682-4d71-983e-d6ec3f16059f'
$product = Get-CimInstance -ClassName SoftwareLicensingProduct -Filter "ApplicationID='$windows' AND PartialProductKey IS NOT NULL" |
    Select-Object -First 1
$disk = Get-CimInstance -ClassName Win32_LogicalDisk -Filter "DeviceID='C:'"
$guard = Get-CimInstance -Namespace 'root\Microsoft\Windows\DeviceGuard' -ClassName Win32_DeviceGuard -ErrorAction SilentlyContinue
$version = Get-ItemProperty -Path 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
@{
    windows = ('{0} {1}.{2}' -f $version.EditionID, $version.CurrentBuild, $version.UBR)
    licence = $(if ($product) { $product.Name } else { '' })
    licence_status = $(if ($product) { [int] $product.LicenseStatus } else { -1 })
    grace_minutes = $(if ($product) { [long] $product.GracePeriodRemaining } else { 0 })
    free_bytes = [long] $disk.FreeSpace
    vbs = $(if ($guard) { [int] $guard.VirtualizationBasedSecurityStatus } else { 0 })
} | ConvertTo-Json -Compress
