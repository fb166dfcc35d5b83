/*
 * device.c - handles, and the transfers that have ended when their operation has.
 */
#include "device.h"

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
    DEVICE *device = Take(sizeof(*device));
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

HANDLE NewEvent(void)
{
    HANDLE event = CreateEventW(NULL, TRUE, FALSE, NULL);

    if (event == NULL)
        ExitProcess(GetLastError());
    return event;
}

typedef BOOL (*TRANSFER)(HANDLE handle, const OP *op, BYTE *in, BYTE *out, DWORD *moved, OVERLAPPED *overlapped);

static BOOL TransferRead(HANDLE handle, const OP *op, BYTE *in, BYTE *out, DWORD *moved, OVERLAPPED *overlapped)
{
    (void)in;
    return ReadFile(handle, out, op->length, moved, overlapped);
}

static BOOL TransferWrite(HANDLE handle, const OP *op, BYTE *in, BYTE *out, DWORD *moved, OVERLAPPED *overlapped)
{
    (void)out;
    return WriteFile(handle, in, op->length, moved, overlapped);
}

static BOOL TransferControl(HANDLE handle, const OP *op, BYTE *in, BYTE *out, DWORD *moved, OVERLAPPED *overlapped)
{
    return DeviceIoControl(handle, op->code, op->in ? in : NULL, op->in, op->out ? out : NULL, op->out, moved, overlapped);
}

/* One transfer that has ended when this returns, on either kind of handle. */
static DWORD Transfer(DEVICE *device, const OP *op, TRANSFER transfer, BYTE *in, BYTE *out, ULONGLONG *returned)
{
    OVERLAPPED overlapped = {0};
    DWORD moved = 0, error = 0;

    if (device->overlapped)
        overlapped.hEvent = NewEvent();
    if (!transfer(device->handle, op, in, out, &moved, device->overlapped ? &overlapped : NULL))
        error = GetLastError();
    if (device->overlapped) {
        if (error == ERROR_IO_PENDING || error == 0) {
            error = 0;
            moved = 0;
            if (!GetOverlappedResult(device->handle, &overlapped, &moved, TRUE))
                error = GetLastError();
        }
        CloseHandle(overlapped.hEvent);
    }
    *returned = moved;
    return error;
}

void DoTransfer(const OP *op)
{
    DEVICE *device = Device(op);
    BOOL reads = op->verb == READ, controls = op->verb == IOCTL;
    TRANSFER transfer = reads ? TransferRead : controls ? TransferControl : TransferWrite;
    DWORD in_size = reads ? 0 : controls ? op->in : op->length;
    DWORD out_size = reads ? op->buffer : controls ? op->out : 0;
    BYTE *in = Take(in_size), *out = Take(out_size);
    DWORD i;

    Fill(in, op->fill, in_size);
    for (i = 0; i < op->times; i++) {
        RESULT result;
        DWORD error;

        Fill(out, op->fill, out_size);
        result = Started(op);
        error = Transfer(device, op, transfer, in, out, &result.returned);
        result.transfers = TRUE;
        result.asked = controls ? op->out : op->length;
        if (reads || controls) {
            result.buffer = out;
            result.size = out_size;
            result.fill = op->fill;
        }
        Finish(&result, error);
    }
    Drop(in);
    Drop(out);
}
