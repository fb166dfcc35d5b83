/*
 * device.c - handles.
 */
#include "device.h"

#include "held.h"
#include "status.h"

CRITICAL_SECTION Lock;
DEVICE *Devices;

void PrepareDevices(void)
{
    InitializeCriticalSection(&Lock);
}

static DEVICE *FindDevice(const char *name)
{
    DEVICE *device;

    EnterCriticalSection(&Lock);
    for (device = Devices; device && !(device->open && Same(device->name, name)); device = device->next)
        ;
    LeaveCriticalSection(&Lock);
    return device;
}

DEVICE *Device(const OP *op)
{
    DEVICE *device = FindDevice(op->target);

    if (device == NULL)
        Wrong(op->thread, op->target, op->text, "no handle was opened under this name", op->target);
    return device;
}

void DoOpen(const OP *op)
{
    RESULT result = Started(op);
    DEVICE *device = Hold(sizeof(*device));
    int size = MultiByteToWideChar(CP_UTF8, 0, op->path, -1, NULL, 0);
    WCHAR *path = Take((SIZE_T)size * sizeof(WCHAR));
    DWORD error = 0;

    if (FindDevice(op->target))
        Wrong(op->thread, op->target, op->text, "this name is in use", op->target);
    MultiByteToWideChar(CP_UTF8, 0, op->path, -1, path, size);
    device->name = op->target;
    device->overlapped = op->overlapped != 0;
    device->open = TRUE;
    result.start = Now();
    device->handle = CreateFileW(path, op->access, op->share, NULL, OPEN_EXISTING,
                                 FILE_ATTRIBUTE_NORMAL | (op->overlapped ? FILE_FLAG_OVERLAPPED : 0), NULL);
    if (device->handle == INVALID_HANDLE_VALUE)
        error = GetLastError();
    SetLastStatus(&result, error);
    /* A failed open keeps its name: what the script does with it next fails with error 6, as it would in a program. */
    EnterCriticalSection(&Lock);
    device->next = Devices;
    Devices = device;
    LeaveCriticalSection(&Lock);
    Finish(&result, error);
    Drop(path);
}

void DoClose(const OP *op)
{
    DEVICE *device = Device(op);
    RESULT result = Started(op);
    BOOL done;
    DWORD error;

    EnterCriticalSection(&Lock);
    device->open = FALSE;
    LeaveCriticalSection(&Lock);
    done = CloseHandle(device->handle);
    error = done ? 0 : GetLastError();
    Finish(&result, error);
}

void CloseDevices(void)
{
    DEVICE *oldest = NULL, *device, *next;

    for (device = Devices; device; device = next) {  /* the list has the newest first */
        next = device->next;
        device->next = oldest;
        oldest = device;
    }
    for (device = oldest; device; device = device->next)
        if (device->open && device->handle != INVALID_HANDLE_VALUE)
            CloseHandle(device->handle);
    Devices = NULL;
}

HANDLE NewEvent(void)
{
    HANDLE event = CreateEventW(NULL, TRUE, FALSE, NULL);

    if (event == NULL)
        ExitProcess(GetLastError());
    return event;
}
