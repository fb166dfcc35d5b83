/*
 * selftest.c - a driver that takes its guest down on request, so that the lab can check what evidence remains.
 *
 * What happens is chosen by the length of a read; its text goes to the reader and to the kernel's prints:
 *
 *   8 bytes    nothing: the read succeeds with "sound"
 *   1 byte     writes through a null pointer at PASSIVE_LEVEL. Windows stops with a bugcheck, which one depends on the
 *              version (0x3B, 0x1E, 0x7E, 0x8E or 0x50); in the free guest the process that hosts the drivers ends.
 *   2 bytes    the same at DISPATCH_LEVEL: bugcheck 0xD1 on Windows
 *   3 bytes    spins with interrupts off, for ever: a guest with one processor hangs hard. Not for the free guest, whose
 *              drivers may not switch interrupts off.
 *
 * Only a tester of the lab should load it.
 */
#include "../common/wdm.h"

#ifdef _MSC_VER
#include <intrin.h>
#define InterruptsOff() _disable()
#else
#define InterruptsOff() __asm__ __volatile__("cli")
#endif

#define DEVICE_NAME L"\\Device\\LabSelftest"
#define LINK_NAME L"\\DosDevices\\LabSelftest"

#define READ_FAULT 1
#define READ_FAULT_RAISED 2
#define READ_SPIN 3

/* Volatile, so that no compiler knows what is written through: it would put a trap instruction there instead. */
static volatile LONG *volatile Nowhere;

static VOID WriteThroughNull(VOID)
{
    *Nowhere = 0x5E1F7E57;
}

static VOID Spin(VOID)
{
    InterruptsOff();
    for (;;)
        YieldProcessor();
}

static NTSTATUS NTAPI DispatchRead(PDEVICE_OBJECT device, PIRP irp)
{
    static const CHAR sound[] = "sound";
    ULONG asked = IoGetCurrentIrpStackLocation(irp)->Parameters.Read.Length;
    KIRQL irql;

    UNREFERENCED_PARAMETER(device);

    switch (asked) {
    case READ_FAULT:
        DbgPrint("selftest: writing through a null pointer now\n");
        WriteThroughNull();
        break;
    case READ_FAULT_RAISED:
        DbgPrint("selftest: writing through a null pointer at DISPATCH_LEVEL now\n");
        KeRaiseIrql(DISPATCH_LEVEL, &irql);
        WriteThroughNull();
        KeLowerIrql(irql);
        break;
    case READ_SPIN:
        DbgPrint("selftest: spinning with interrupts off now\n");
        Spin();
        break;
    default:
        break;
    }
    if (asked < sizeof(sound) || irp->AssociatedIrp.SystemBuffer == NULL)
        return Complete(irp, STATUS_BUFFER_TOO_SMALL, 0);
    DbgPrint("selftest: sound\n");
    RtlCopyMemory(irp->AssociatedIrp.SystemBuffer, sound, sizeof(sound));
    return Complete(irp, STATUS_SUCCESS, sizeof(sound));
}

static VOID NTAPI DriverUnload(PDRIVER_OBJECT driver)
{
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
    device->Flags |= DO_BUFFERED_IO;

    SetRoutines(driver, DriverUnload);
    driver->MajorFunction[IRP_MJ_READ] = DispatchRead;
    return CreateLink(device, LINK_NAME, DEVICE_NAME);
}
