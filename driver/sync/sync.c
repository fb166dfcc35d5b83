/*
 * sync.c - forward communication: an application reads, the driver answers at once.
 *
 * The first five reads since the driver was loaded deliver the five slots, one each, to any reader; every later
 * read succeeds and leaves the reader's buffer as it is. All strings are UTF-8.
 *
 * This file stands alone: copy the folder, change it, and build it with `lab driver build PATH` or Visual Studio.
 */
#include <ntddk.h>

#define DEVICE_NAME L"\\Device\\LySharkSync"
#define LINK_NAME L"\\DosDevices\\LySharkSync"

#define SLOT_COUNT 5
#define SLOT_SIZE 128
#define READ_CAP 20
#define EXTENSION_SIZE 4096

typedef struct _SYNC_EXTENSION {
    volatile LONG taken;                /* slots handed out since load, 0..SLOT_COUNT */
    CHAR slots[SLOT_COUNT][SLOT_SIZE];  /* zero padded */
} SYNC_EXTENSION;

C_ASSERT(sizeof(SYNC_EXTENSION) <= EXTENSION_SIZE);
C_ASSERT(READ_CAP <= SLOT_SIZE);

DRIVER_INITIALIZE DriverEntry;

static NTSTATUS Complete(PIRP irp, NTSTATUS status, ULONG_PTR information)
{
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = information;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

static NTSTATUS NTAPI DispatchOpenClose(PDEVICE_OBJECT device, PIRP irp)
{
    UNREFERENCED_PARAMETER(device);
    return Complete(irp, STATUS_SUCCESS, 0);
}

static NTSTATUS NTAPI DispatchOther(PDEVICE_OBJECT device, PIRP irp)
{
    UNREFERENCED_PARAMETER(device);
    return Complete(irp, STATUS_NOT_SUPPORTED, 0);
}

/*
 * Take the next slot, or NULL when all are gone. Readers on several processors may be here at once: the exchange
 * makes one of them win each number, and the counter stops at SLOT_COUNT, so it cannot wrap around after 2^32 reads.
 */
static const CHAR *TakeSlot(SYNC_EXTENSION *extension)
{
    LONG next;

    do {
        next = extension->taken;
        if (next >= SLOT_COUNT)
            return NULL;
    } while (InterlockedCompareExchange(&extension->taken, next + 1, next) != next);
    return extension->slots[next];
}

static NTSTATUS NTAPI DispatchRead(PDEVICE_OBJECT device, PIRP irp)
{
    SYNC_EXTENSION *extension = (SYNC_EXTENSION *)device->DeviceExtension;
    ULONG asked = IoGetCurrentIrpStackLocation(irp)->Parameters.Read.Length;
    ULONG length = asked < READ_CAP ? asked : READ_CAP;
    PVOID buffer = NULL;
    const CHAR *slot;

    /* A zero-length read arrives without an MDL on Windows, and with an empty one elsewhere: both end here. */
    if (asked != 0 && irp->MdlAddress != NULL)
        buffer = MmGetSystemAddressForMdlSafe(irp->MdlAddress, NormalPagePriority);
    if (buffer == NULL)
        return Complete(irp, STATUS_UNSUCCESSFUL, 0);

    DbgPrint("读字节长度: %d \n", asked);

    slot = TakeSlot(extension);
    if (slot != NULL)
        RtlCopyMemory(buffer, slot, length);
    return Complete(irp, STATUS_SUCCESS, length);
}

static VOID FillSlots(SYNC_EXTENSION *extension)
{
    static const CHAR texts[SLOT_COUNT][SLOT_SIZE] = {
        "hi, lyshark A", "hi, lyshark B", "hi, lyshark C", "hi, lyshark D", "hi, lyshark E",
    };

    RtlZeroMemory(extension, EXTENSION_SIZE);
    RtlCopyMemory(extension->slots, texts, sizeof(texts));
}

static VOID NTAPI DriverUnload(PDRIVER_OBJECT driver)
{
    UNICODE_STRING link;

    RtlInitUnicodeString(&link, LINK_NAME);
    IoDeleteSymbolicLink(&link);
    if (driver->DeviceObject != NULL)
        IoDeleteDevice(driver->DeviceObject);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry_path)
{
    UNICODE_STRING name, link;
    PDEVICE_OBJECT device;
    NTSTATUS status;
    ULONG i;

    UNREFERENCED_PARAMETER(registry_path);

    RtlInitUnicodeString(&name, DEVICE_NAME);
    status = IoCreateDevice(driver, EXTENSION_SIZE, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
    if (!NT_SUCCESS(status))
        return status;

    FillSlots((SYNC_EXTENSION *)device->DeviceExtension);
    device->Flags |= DO_DIRECT_IO;
    device->AlignmentRequirement = FILE_WORD_ALIGNMENT;

    for (i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++)
        driver->MajorFunction[i] = DispatchOther;
    driver->MajorFunction[IRP_MJ_CREATE] = DispatchOpenClose;
    driver->MajorFunction[IRP_MJ_CLOSE] = DispatchOpenClose;
    driver->MajorFunction[IRP_MJ_READ] = DispatchRead;
    driver->DriverUnload = DriverUnload;

    RtlInitUnicodeString(&link, LINK_NAME);
    status = IoCreateSymbolicLink(&link, &name);
    if (!NT_SUCCESS(status))
        IoDeleteDevice(device);
    return status;
}
