/*
 * collector.c - LabCoverage: keeps the counters of drivers that were built with --coverage until the host takes them.
 *
 * A measured driver attaches itself when it is loaded (runtime.c), and hands over its last counters when it is unloaded. The
 * host reads both kinds by device controls, through any program: the records never come near the kernel's prints.
 *
 * Dump, a function of the attached driver, is called only under the mutex, and the end of an attachment takes the mutex: so the
 * driver's code is there. A driver in another process, as a stand-in for a kernel may have it, cannot be called and is refused.
 */
#include "../common/wdm.h"

#include "labcov.h"

#define TAG 'voCL'
#define TRIES 8

/* A driver that is loaded, or what is left of one. */
typedef struct _ENTRY {
    LIST_ENTRY link;
    LABCOV_DUMP dump;   /* NULL once it is unloaded */
    UCHAR *payload;     /* of an unloaded one; NULL if it was lost */
    LABCOV_RECORD record;
} ENTRY;

static KMUTEX Mutex;            /* protects all that follows */
static LIST_ENTRY Entries;      /* in the order of their loads */
static ULONG LastNumber;
static UCHAR *Taken;            /* the records that were taken last */
static HANDLE OwnProcess;

static VOID Free(PVOID memory)
{
    if (memory != NULL)
        ExFreePoolWithTag(memory, TAG);
}

static UCHAR *Allocate(ULONG size)
{
    return (UCHAR *)ExAllocatePoolWithTag(NonPagedPool, size, TAG);
}

static ENTRY *Find(ULONG number)
{
    PLIST_ENTRY link;

    for (link = Entries.Flink; link != &Entries; link = link->Flink) {
        ENTRY *entry = CONTAINING_RECORD(link, ENTRY, link);

        if (entry->record.number == number && entry->dump != NULL)
            return entry;
    }
    return NULL;
}

static ENTRY *Add(const CHAR *name)
{
    ENTRY *entry = (ENTRY *)Allocate(sizeof(*entry));

    if (entry == NULL)
        return NULL;
    RtlZeroMemory(entry, sizeof(*entry));
    RtlCopyMemory(entry->record.name, name, LABCOV_NAME_SIZE - 1);
    entry->record.number = ++LastNumber;
    InsertTailList(&Entries, &entry->link);
    return entry;
}

static NTSTATUS Attach(const LABCOV_ATTACH *attach, ULONG size, ULONG *number)
{
    ENTRY *entry;

    if (size != sizeof(*attach) || attach->version != LABCOV_VERSION)
        return STATUS_INVALID_PARAMETER;
    /* Drivers are loaded in the process in which this one was: on NT in that of the system. No program can attach itself. */
    if (PsGetCurrentProcessId() != OwnProcess)
        return STATUS_ACCESS_DENIED;
    entry = Add(attach->name);
    if (entry == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    entry->dump = attach->dump;
    entry->record.state = LabcovLive;
    *number = entry->record.number;
    return STATUS_SUCCESS;
}

static NTSTATUS Put(const LABCOV_PUT *put, ULONG size)
{
    ENTRY *entry;

    if (size < sizeof(*put) || put->version != LABCOV_VERSION)
        return STATUS_INVALID_PARAMETER;
    size -= sizeof(*put);
    entry = put->number != 0 ? Find(put->number) : Add(put->name);
    if (entry == NULL)
        return STATUS_INVALID_PARAMETER;
    entry->dump = NULL;
    entry->record.state = LabcovLost;
    entry->payload = size != 0 ? Allocate(size) : NULL;
    if (entry->payload != NULL) {
        RtlCopyMemory(entry->payload, put + 1, size);
        entry->record.size = size;
        entry->record.state = LabcovUnloaded;
    }
    return STATUS_SUCCESS;
}

static ULONG Aligned(ULONG size)
{
    return (size + 3) & ~3u;
}

/* The records of all entries into `room` bytes; returns the size of all of them. */
static ULONG Write(UCHAR *buffer, ULONG room)
{
    LABCOV_HEAD head;
    PLIST_ENTRY link;
    ULONG at = sizeof(head);

    head.magic = LABCOV_MAGIC;
    head.version = LABCOV_VERSION;
    head.records = 0;
    for (link = Entries.Flink; link != &Entries; link = link->Flink) {
        ENTRY *entry = CONTAINING_RECORD(link, ENTRY, link);
        ULONG left = at + sizeof(entry->record) <= room ? room - at - (ULONG)sizeof(entry->record) : 0;
        UCHAR *payload = left != 0 ? buffer + at + sizeof(entry->record) : NULL;

        if (entry->dump != NULL)
            entry->record.size = entry->dump(payload, left);
        else if (entry->record.size <= left)
            RtlCopyMemory(payload, entry->payload, entry->record.size);
        if (at + sizeof(entry->record) <= room)
            RtlCopyMemory(buffer + at, &entry->record, sizeof(entry->record));
        at += sizeof(entry->record) + Aligned(entry->record.size);
        head.records++;
    }
    head.size = at;
    if (sizeof(head) <= room)
        RtlCopyMemory(buffer, &head, sizeof(head));
    return at;
}

static VOID ForgetUnloaded(VOID)
{
    PLIST_ENTRY link = Entries.Flink;

    while (link != &Entries) {
        ENTRY *entry = CONTAINING_RECORD(link, ENTRY, link);

        link = link->Flink;
        if (entry->dump == NULL) {
            RemoveEntryList(&entry->link);
            Free(entry->payload);
            Free(entry);
        }
    }
}

static NTSTATUS More(ULONG offset, UCHAR *out, ULONG room, ULONG_PTR *written)
{
    LABCOV_HEAD head;

    if (Taken == NULL)
        return STATUS_INVALID_DEVICE_STATE;
    RtlCopyMemory(&head, Taken, sizeof(head));
    if (offset > head.size)
        return STATUS_INVALID_PARAMETER;
    *written = head.size - offset < room ? head.size - offset : room;
    RtlCopyMemory(out, Taken + offset, *written);
    return STATUS_SUCCESS;
}

static NTSTATUS Take(UCHAR *out, ULONG room, ULONG_PTR *written)
{
    ULONG size, tries;
    UCHAR *buffer;

    /* A counter that is no longer zero makes its file longer, so the size may change while it is written. */
    for (tries = 0; tries < TRIES; tries++) {
        ULONG enough = Write(NULL, 0);

        enough += enough / 4;
        buffer = Allocate(enough);
        if (buffer == NULL)
            return STATUS_INSUFFICIENT_RESOURCES;
        RtlZeroMemory(buffer, enough);
        size = Write(buffer, enough);
        if (size <= enough) {
            Free(Taken);
            Taken = buffer;
            ForgetUnloaded();
            return More(0, out, room, written);
        }
        Free(buffer);
    }
    return STATUS_RETRY;
}

static NTSTATUS NTAPI DispatchControl(PDEVICE_OBJECT device, PIRP irp)
{
    PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(irp);
    ULONG in = stack->Parameters.DeviceIoControl.InputBufferLength;
    ULONG out = stack->Parameters.DeviceIoControl.OutputBufferLength;
    PVOID buffer = irp->AssociatedIrp.SystemBuffer;
    NTSTATUS status = STATUS_INVALID_PARAMETER;
    ULONG_PTR written = 0;
    ULONG number;

    UNREFERENCED_PARAMETER(device);

    KeWaitForSingleObject(&Mutex, Executive, KernelMode, FALSE, NULL);
    switch (stack->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_LABCOV_ATTACH:
        if (out >= sizeof(number))
            status = Attach((const LABCOV_ATTACH *)buffer, in, &number);
        if (NT_SUCCESS(status)) {
            RtlCopyMemory(buffer, &number, sizeof(number));
            written = sizeof(number);
        }
        break;
    case IOCTL_LABCOV_PUT:
        status = Put((const LABCOV_PUT *)buffer, in);
        break;
    case IOCTL_LABCOV_TAKE:
        if (out >= sizeof(LABCOV_HEAD))
            status = Take((UCHAR *)buffer, out, &written);
        break;
    case IOCTL_LABCOV_MORE:
        if (in == sizeof(ULONG) && out != 0)
            status = More(*(const ULONG *)buffer, (UCHAR *)buffer, out, &written);
        break;
    default:
        status = STATUS_INVALID_DEVICE_REQUEST;
    }
    KeReleaseMutex(&Mutex, FALSE);
    return Complete(irp, status, NT_SUCCESS(status) ? written : 0);
}

/* Measured drivers have a handle of the device, so on NT all of them are unloaded. */
static VOID NTAPI Unload(PDRIVER_OBJECT driver)
{
    DeleteLinkAndDevice(driver, LABCOV_LINK);
    ForgetUnloaded();
    Free(Taken);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry_path)
{
    PDEVICE_OBJECT device;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(registry_path);

    KeInitializeMutex(&Mutex, 0);
    InitializeListHead(&Entries);
    OwnProcess = PsGetCurrentProcessId();
    SetRoutines(driver, Unload);
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = DispatchControl;

    status = CreateDevice(driver, LABCOV_DEVICE, 0, &device);
    if (!NT_SUCCESS(status))
        return status;
    return CreateLink(device, LABCOV_LINK, LABCOV_DEVICE);
}
