/* The product's own program: tells the scaled level, and what it expects. */
#include <windows.h>
#include <winioctl.h>
#include <rpc.h>
#include <stdio.h>
#include <boiler.h>

int BoilerScale(int level);

int main(int count, char **arguments)
{
    DWORD level = 0, size = 0;
    UUID none;
    HANDLE device = CreateFileW(METER_LINK, GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL);
    if (device == INVALID_HANDLE_VALUE)
        return (int)GetLastError();
    UuidCreateNil(&none);
    if (!DeviceIoControl(device, IOCTL_METER_LEVEL, NULL, 0, &level, sizeof(level), &size, NULL))
        return (int)GetLastError();
    CancelIoEx(device, NULL);
    CloseHandle(device);
    printf("%lu %d %lu\n", level, BoilerScale(count > 1 ? atoi(arguments[1]) : 0), none.Data1);
    return 0;
}
