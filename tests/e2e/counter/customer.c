/* Tells what the device does, a line for each thing. */
#include <windows.h>
#include <winioctl.h>
#include <stdio.h>
#include "counter.h"

static HANDLE Device;
static OVERLAPPED Waiting[9];

static DWORD Call(DWORD code, HANDLE handle)
{
    OVERLAPPED done = {0};
    DWORD size, error = 0;

    done.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (!DeviceIoControl(Device, code, &handle, sizeof(handle), NULL, 0, &size, &done)) {
        error = GetLastError();
        if (error == ERROR_IO_PENDING)
            error = GetOverlappedResult(Device, &done, &size, TRUE) ? 0 : GetLastError();
    }
    CloseHandle(done.hEvent);
    return error;
}

/* The line as it is: p for one that waits, 0 for one that was served, c for one that has left. */
static void Show(int count)
{
    int number;
    DWORD size;

    for (number = 0; number < count; number++) {
        if (GetOverlappedResult(Device, &Waiting[number], &size, FALSE))
            putchar('0');
        else
            putchar(GetLastError() == ERROR_IO_INCOMPLETE ? 'p' : GetLastError() == ERROR_OPERATION_ABORTED ? 'c' : '?');
    }
    putchar('\n');
}

static void Line(void)
{
    int number;
    DWORD size;

    for (number = 0; number < 8; number++) {
        Waiting[number].hEvent = CreateEventW(NULL, TRUE, FALSE, NULL);
        DeviceIoControl(Device, IOCTL_WAIT, NULL, 0, NULL, 0, &size, &Waiting[number]);
    }
    Show(8);
    /* The second with its context, the third without. */
    for (number = 1; number <= 2; number++) {
        CancelIoEx(Device, &Waiting[number]);
        WaitForSingleObject(Waiting[number].hEvent, 10000);
    }
    Show(8);
    printf("%lu ", Call(IOCTL_NEXT, NULL));
    printf("%lu ", Call(IOCTL_NEXT, NULL));
    printf("%lu ", Call(IOCTL_LAST, NULL));
    printf("%lu\n", Call(IOCTL_LAST, NULL));
    Show(8);
    printf("refused %lu\n", Call(IOCTL_WAIT, NULL));
    for (number = 0; number < 3; number++)
        printf("%lu ", Call(IOCTL_NEXT, NULL));
    printf("%lu\n", Call(IOCTL_NEXT, NULL));
    Show(8);
}

int main(void)
{
    HANDLE event = CreateEventW(NULL, TRUE, FALSE, NULL), watched, other;
    char turned[8] = "";
    OVERLAPPED done = {0};
    DWORD size = 0;

    Device = CreateFileW(L"\\\\.\\LabCounter", GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING, FILE_FLAG_OVERLAPPED, NULL);
    if (Device == INVALID_HANDLE_VALUE)
        return (int)GetLastError();
    done.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (!DeviceIoControl(Device, IOCTL_TURN, "lager", 5, turned, 7, &size, &done))
        GetOverlappedResult(Device, &done, &size, TRUE);
    printf("turned %lu %s\n", size, turned);

    printf("rung %lu ", Call(IOCTL_RING, event));
    printf("%lu\n", WaitForSingleObject(event, 10000));
    DuplicateHandle(GetCurrentProcess(), event, GetCurrentProcess(), &watched, SYNCHRONIZE, FALSE, 0);
    other = CreateSemaphoreW(NULL, 1, 1, NULL);
    printf("refused %lu ", Call(IOCTL_RING, watched));
    printf("%lu ", Call(IOCTL_RING, other));
    printf("%lu\n", Call(IOCTL_RING, (HANDLE)(ULONG_PTR)0x7ff0));
    Line();
    CloseHandle(Device);
    return 0;
}
