# Asked over WinRM in the acceptance boot: what only WMI knows. Answers one line of JSON.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$windows = '55c92734-d682-4d71-983e-d6ec3f16059f'
$product = Get-CimInstance -ClassName SoftwareLicensingProduct -Filter "ApplicationID='$windows' AND PartialProductKey IS NOT NULL" |
    Select-Object -First 1
$disk = Get-CimInstance -ClassName Win32_LogicalDisk -Filter "DeviceID='C:'"
$guard = Get-CimInstance -Namespace 'root\Microsoft\Windows\DeviceGuard' -ClassName Win32_DeviceGuard -ErrorAction SilentlyContinue
$version = Get-ItemProperty -Path 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
# The Windows driver policy (April 2026) takes trust from cross-signed drivers: Windows 11 24H2 and later, and Server 2025.
$driverPolicy = 'none'
$tool = Join-Path $env:SystemRoot 'System32\CiTool.exe'
if (Test-Path -LiteralPath $tool) {
    try {
        $active = @(($null | & $tool -lp -json | Out-String | ConvertFrom-Json).Policies |
            Where-Object { $_.IsEnforced -and $_.IsAuthorized } | ForEach-Object { "$($_.PolicyID)".Trim('{}') })
        if ($active -contains '8f9cb695-5d48-48d6-a329-7202b44607e3') { $driverPolicy = 'enforced' }
        elseif ($active -contains '784c4414-79f4-4c32-a6a5-f0fb42a51d0d') { $driverPolicy = 'evaluation' }
    } catch { $driverPolicy = 'unknown' }
}
@{
    windows = ('{0} {1}.{2}' -f $version.EditionID, $version.CurrentBuild, $version.UBR)
    licence = $(if ($product) { $product.Name } else { '' })
    licence_status = $(if ($product) { [int] $product.LicenseStatus } else { -1 })
    grace_minutes = $(if ($product) { [long] $product.GracePeriodRemaining } else { 0 })
    free_bytes = [long] $disk.FreeSpace
    vbs = $(if ($guard) { [int] $guard.VirtualizationBasedSecurityStatus } else { 0 })
    driver_policy = $driverPolicy
} | ConvertTo-Json -Compress
