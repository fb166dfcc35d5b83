/*
 * runtime.c - linked into a driver that is built with --coverage; the driver's own sources are as they are.
 *
 * The image starts in LabCoverageEntry, which calls the driver's DriverEntry and attaches the driver to the collector
 * (collector.c). The driver's unload routine is called by LabCoverageUnload, which then gives the last counters to the
 * collector. Without a collector the driver works as always. Nothing here prints.
 *
 * The compiler places a pointer to the counters of each source between Begin and End, and libgcov turns these into .gcda
 * files: the format belongs to the compiler's version.
 */
#include "labcov.h"

#ifndef LABCOV_DRIVER
#error "the build defines the driver's name"
#endif

#define TAG 'voCL'
#define TRIES 8

struct gcov_info;

/* libgcov, GCC 12 and later. */
extern void __gcov_info_to_gcda(const struct gcov_info *info, void (*name)(const char *, void *),
                                void (*dump)(const void *, unsigned, void *), void *(*allocate)(unsigned, void *), void *context);

NTSYSAPI NTSTATUS NTAPI ZwDeviceIoControlFile(HANDLE file, HANDLE event, PIO_APC_ROUTINE apc, PVOID context,
                                              PIO_STATUS_BLOCK io, ULONG code, PVOID in, ULONG in_size, PVOID out, ULONG out_size);

DRIVER_INITIALIZE DriverEntry;
DRIVER_INITIALIZE LabCoverageEntry;

/* Pointers of the compiler. The linker sorts the parts of a section by what follows the $: those are in $labM. */
__attribute__((section(".rdata$labA"), used)) static const struct gcov_info *const Begin[1] = { NULL };
__attribute__((section(".rdata$labZ"), used)) static const struct gcov_info *const End[1] = { NULL };

static HANDLE Collector;
static ULONG Number;
static PDRIVER_UNLOAD Unload;

typedef struct _SINK {
    UCHAR *buffer;
    ULONG room;
    ULONG size;   /* of all that was written, also of what found no room */
} SINK;

static void Write(SINK *sink, const void *bytes, ULONG count)
{
    if (sink->size <= sink->room && count <= sink->room - sink->size)
        RtlCopyMemory(sink->buffer + sink->size, bytes, count);
    sink->size += count;
}

static void WriteName(const char *name, void *context)
{
    ULONG length = 0;

    while (name[length] != '\0')
        length++;
    Write((SINK *)context, &length, sizeof(length));
    Write((SINK *)context, name, length);
    length = 0;  /* the place for the length of the file, see Dump */
    Write((SINK *)context, &length, sizeof(length));
}

static void WriteBytes(const void *bytes, unsigned count, void *context)
{
    Write((SINK *)context, bytes, count);
}

/* For counters of values, which are not compiled in. */
static void *Allocate(unsigned size, void *context)
{
    UNREFERENCED_PARAMETER(size);
    UNREFERENCED_PARAMETER(context);
    return NULL;
}

static ULONG NTAPI Dump(UCHAR *buffer, ULONG room)
{
    const struct gcov_info *const *info = Begin, *const *end = End;
    SINK sink;

    /* The compiler knows two arrays of one pointer each, and may assume that no step leads from one to the other. */
    __asm__("" : "+r"(info), "+r"(end));

    sink.buffer = buffer;
    sink.room = room;
    sink.size = 0;
    for (; info != end; info++) {
        ULONG start = sink.size, name, length;

        if (*info == NULL)
            continue;  /* the linker aligns with zeroes */
        __gcov_info_to_gcda(*info, WriteName, WriteBytes, Allocate, &sink);
        if (sink.size > room)
            continue;
        RtlCopyMemory(&name, buffer + start, sizeof(name));
        length = sink.size - start - 2 * sizeof(ULONG) - name;
        RtlCopyMemory(buffer + start + sizeof(ULONG) + name, &length, sizeof(length));
    }
    return sink.size;
}

static NTSTATUS Send(ULONG code, PVOID in, ULONG in_size, PVOID out, ULONG out_size)
{
    IO_STATUS_BLOCK io;

    return ZwDeviceIoControlFile(Collector, NULL, NULL, NULL, &io, code, in, in_size, out, out_size);
}

static VOID Attach(VOID)
{
    OBJECT_ATTRIBUTES attributes;
    LABCOV_ATTACH attach;
    UNICODE_STRING name;
    IO_STATUS_BLOCK io;

    RtlInitUnicodeString(&name, LABCOV_DEVICE);
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    if (!NT_SUCCESS(ZwCreateFile(&Collector, SYNCHRONIZE | FILE_READ_DATA, &attributes, &io, NULL, FILE_ATTRIBUTE_NORMAL,
                                 FILE_SHARE_READ | FILE_SHARE_WRITE, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0))) {
        Collector = NULL;
        return;
    }
    RtlZeroMemory(&attach, sizeof(attach));
    attach.version = LABCOV_VERSION;
    RtlCopyMemory(attach.name, LABCOV_DRIVER, sizeof(LABCOV_DRIVER));
    attach.dump = Dump;
    if (!NT_SUCCESS(Send(IOCTL_LABCOV_ATTACH, &attach, sizeof(attach), &Number, sizeof(Number))))
        Number = 0;  /* it is in another process, as in a stand-in for a kernel: the counters go there at the unload only */
}

/* The last counters, and no more calls of Dump. */
static VOID Detach(VOID)
{
    ULONG room = 0, size, tries;
    UCHAR *buffer = NULL;
    LABCOV_PUT put;

    if (Collector == NULL)
        return;
    RtlZeroMemory(&put, sizeof(put));
    put.version = LABCOV_VERSION;
    put.number = Number;
    RtlCopyMemory(put.name, LABCOV_DRIVER, sizeof(LABCOV_DRIVER));

    /* A counter that is no longer zero makes its file longer, so the size may change while it is written. */
    for (tries = 0; tries < TRIES; tries++) {
        size = Dump(buffer != NULL ? buffer + sizeof(put) : NULL, room);
        if (buffer != NULL && size <= room)
            break;
        if (buffer != NULL)
            ExFreePoolWithTag(buffer, TAG);
        room = size + size / 4;
        buffer = (UCHAR *)ExAllocatePoolWithTag(NonPagedPool, sizeof(put) + room, TAG);
        if (buffer == NULL)
            break;
    }
    if (buffer != NULL && size <= room) {
        RtlCopyMemory(buffer, &put, sizeof(put));
        Send(IOCTL_LABCOV_PUT, buffer, sizeof(put) + size, NULL, 0);
    } else {
        Send(IOCTL_LABCOV_PUT, &put, sizeof(put), NULL, 0);
    }
    if (buffer != NULL)
        ExFreePoolWithTag(buffer, TAG);
    ZwClose(Collector);
    Collector = NULL;
}

static VOID NTAPI LabCoverageUnload(PDRIVER_OBJECT driver)
{
    Unload(driver);
    Detach();
}

NTSTATUS NTAPI LabCoverageEntry(PDRIVER_OBJECT driver, PUNICODE_STRING registry_path)
{
    NTSTATUS status;

    Attach();
    status = DriverEntry(driver, registry_path);
    if (!NT_SUCCESS(status)) {
        Detach();
    } else if (driver->DriverUnload != NULL) {
        Unload = driver->DriverUnload;
        driver->DriverUnload = LabCoverageUnload;
    }
    return status;
}
