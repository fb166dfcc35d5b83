/*
 * relay.c - DbgPrint without a debugger: hands every print that passes the kernel's filter to QEMU's debug console.
 *
 * The kernel calls RelayPrint for each print, on the processor that made it, at the print's own level raised to 12 (x64) or
 * higher: nothing here may be paged, wait for anything of a lower level, allocate, or print. The record that it writes
 * (record.h) has left the guest when it returns, so a print that was made before a crash is on the host. Once
 * a bugcheck has begun, the kernel calls no callbacks any more: the prints of a bugcheck itself never come this way.
 *
 * IOCTL_RELAY_MARK (ioctl.h) writes a mark: whatever was printed before it on any processor has its record in front of it.
 *
 * The kernel's part, DbgSetDebugPrintCallback, exists since NT 6.0 and is looked up at run time: the driver loads
 * everywhere, says once why it does not relay prints, and then refuses marks with the same reason. The port is touched only
 * when the callback exists and this code runs in ring 0: in a driver host that is a process, as Wine's, port access faults.
 */
#include "../common/wdm.h"

#ifdef _MSC_VER
#include <intrin.h>
#else
#include <x86intrin.h>
#endif

#include "ioctl.h"
#include "port.h"
#include "writer.h"

#define DEVICE_NAME L"\\Device\\LabRelay"
#define LINK_NAME L"\\DosDevices\\LabRelay"

#define MARK_TRIES 1000

#if defined(_M_IX86) || defined(__i386__)
#define ARCH "x86"
#else
#define ARCH "x64"
#endif

/* As wdm.h declares them for NT 6.0; here a header for NT 5.2 is enough. */
typedef VOID (NTAPI *PRINT_CALLBACK)(PSTRING text, ULONG component, ULONG level);
typedef NTSTATUS (NTAPI *SET_PRINT_CALLBACK)(PRINT_CALLBACK callback, BOOLEAN enable);

static RELAY_WRITER Writer;
static SET_PRINT_CALLBACK SetPrintCallback;     /* NULL before NT 6.0 */
static NTSTATUS State = STATUS_NOT_SUPPORTED;   /* STATUS_SUCCESS while prints are relayed, or why they are not */
static volatile LONG Running;                   /* callbacks that run now */

/* mingw's kernel headers leave it out. */
NTSYSAPI VOID NTAPI RtlCaptureContext(PCONTEXT context);

/* ---- prints ------------------------------------------------------------------------------------------------------ */

static VOID NTAPI RelayPrint(PSTRING text, ULONG component, ULONG level)
{
    InterlockedIncrement(&Running);
    RelayWrite(&Writer, RELAY_PRINT, component, level, text->Buffer, text->Length);
    InterlockedDecrement(&Running);
}

/* By DbgPrintEx at error level, which passes the filter that Windows has unless it was changed. */
static VOID Say(const CHAR *words)
{
    DbgPrintEx(DPFLTR_IHVDRIVER_ID, DPFLTR_ERROR_LEVEL, "labrelay: %s\n", words);
}

/* The two low bits of CS are the ring that this code runs in. */
static BOOLEAN InRing0(VOID)
{
    CONTEXT context;

    RtlZeroMemory(&context, sizeof(context));
    RtlCaptureContext(&context);
    return (context.SegCs & 3) == 0;
}

static NTSTATUS Begin(VOID)
{
    static const CHAR hello[] = "labrelay 1 " ARCH;
    LARGE_INTEGER now;
    NTSTATUS status;

    SetPrintCallback = (SET_PRINT_CALLBACK)(ULONG_PTR)RelayKernelRoutine(L"DbgSetDebugPrintCallback");
    if (SetPrintCallback == NULL) {
        Say("this kernel has no DbgSetDebugPrintCallback (NT 6.0 and later have it): prints are not relayed");
        return STATUS_NOT_SUPPORTED;
    }
    if (!InRing0()) {
        Say("this driver does not run in ring 0 and cannot write to ports: prints are not relayed");
        return STATUS_NOT_SUPPORTED;
    }
    if (!RelayPortAnswers()) {
        Say("nothing answers at port 0xe9 (QEMU has it with -device isa-debugcon,iobase=0xe9): prints are not relayed");
        return STATUS_DEVICE_NOT_CONNECTED;
    }
    RelayPortStart();

    KeQuerySystemTime(&now);
    RelayStart(&Writer, (unsigned int)(__rdtsc() ^ (ULONG64)now.QuadPart >> 8));
    RelayWrite(&Writer, RELAY_HELLO, 0, 0, hello, sizeof(hello) - 1);
    status = SetPrintCallback(RelayPrint, TRUE);
    if (!NT_SUCCESS(status)) {
        RelayWrite(&Writer, RELAY_BYE, 0, 0, NULL, 0);
        Say("the kernel refused the callback: prints are not relayed");
    }
    return status;
}

/*
 * Returns when no callback runs any more and none will. A kernel that holds a lock around its callbacks waits for them in
 * SetPrintCallback already; this does not rely on it. A callback cannot lose its processor, because it runs at a level
 * above DISPATCH_LEVEL: once this thread has run on a processor, each callback that had begun there before the removal has ended.
 * That also covers the instructions before and after the counter, which alone would not be enough to free the code. It
 * reaches the processors of one group, at most 64; in a VM of more, only the counter covers those of the other groups.
 */
static VOID End(VOID)
{
    KAFFINITY processors = KeQueryActiveProcessors(), one;
    LARGE_INTEGER pause;

    SetPrintCallback(RelayPrint, FALSE);
    for (one = 1; one != 0; one <<= 1)
        if (processors & one)
            KeSetSystemAffinityThread(one);
    KeRevertToUserAffinityThread();
    pause.QuadPart = -10000;  /* 1 ms */
    while (InterlockedCompareExchange(&Running, 0, 0) != 0)
        KeDelayExecutionThread(KernelMode, FALSE, &pause);
    RelayWrite(&Writer, RELAY_BYE, 0, 0, NULL, 0);
}

/* ---- the device -------------------------------------------------------------------------------------------------- */

static NTSTATUS Mark(const UCHAR *token, ULONG length)
{
    LARGE_INTEGER pause;
    ULONG i;

    if (length == 0 || length > RELAY_TOKEN_MAX)
        return STATUS_INVALID_PARAMETER;
    for (i = 0; i < length; i++)
        if (token[i] <= ' ' || token[i] > '~')
            return STATUS_INVALID_PARAMETER;
    if (!NT_SUCCESS(State))
        return State;
    pause.QuadPart = -10000;  /* 1 ms */
    for (i = 0; i < MARK_TRIES; i++) {
        if (RelayWrite(&Writer, RELAY_MARK, 0, 0, token, length))
            return STATUS_SUCCESS;
        KeDelayExecutionThread(KernelMode, FALSE, &pause);
    }
    return STATUS_IO_TIMEOUT;
}

static NTSTATUS NTAPI DispatchControl(PDEVICE_OBJECT device, PIRP irp)
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(irp);
    NTSTATUS status = STATUS_INVALID_DEVICE_REQUEST;

    UNREFERENCED_PARAMETER(device);
    if (stack->Parameters.DeviceIoControl.IoControlCode == IOCTL_RELAY_MARK)
        status = Mark((const UCHAR *)irp->AssociatedIrp.SystemBuffer, stack->Parameters.DeviceIoControl.InputBufferLength);
    return Complete(irp, status, 0);
}

static VOID NTAPI DriverUnload(PDRIVER_OBJECT driver)
{
    /* No handle is open any more, so no mark is being written either. */
    if (NT_SUCCESS(State))
        End();
    DeleteLinkAndDevice(driver, LINK_NAME);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry_path)
{
    PDEVICE_OBJECT device;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(registry_path);

    status = CreateDevice(driver, DEVICE_NAME, 0, &device);
    if (!NT_SUCCESS(status))
        return status;
    SetRoutines(driver, DriverUnload);
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = DispatchControl;
    status = CreateLink(device, LINK_NAME, DEVICE_NAME);
    if (!NT_SUCCESS(status))
        return status;

    /* Last: nothing after it can fail, so a callback never outlives a load that failed. */
    State = Begin();
    return STATUS_SUCCESS;
}
