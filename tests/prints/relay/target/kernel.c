/*
 * kernel.c - as much of a kernel as the print relay needs, around the very file that the lab builds: loads labrelay.sys, which comes
 * as the loader's first module, runs its DriverEntry in ring 0, makes prints and requests, and unloads it. For x86 and x64.
 *
 * By the command line: serve (1: it becomes a guest that takes orders, see serve.c, before the driver is unloaded), callback (0: a kernel without print callbacks), newer (0: without what came after NT 6.0), ring
 * (that the driver is told it runs in), prints (how many). What the driver does wrong, or at the wrong moment, is reported
 * on COM2.
 */
#define PowerOff PowerOffAction /* a name of the kernel's, and a routine of ours */
/* An inline function of theirs, which nobody calls, uses SSE. We are compiled without, and GCC 14 takes that for an error. */
#pragma GCC push_options
#pragma GCC target("sse")
#include <ntddk.h>
#pragma GCC pop_options
#undef PowerOff

#include "ioctl.h"
#include "kernel.h"
#include "target.h"

#define MULTIBOOT_MAGIC 0x2BADB002
#define IMAGE_BASE 0x02000000u
#define INTERRUPT_FLAG 0x200u
/* Where headers for NT 5.2 look for the number of the processor: FS and GS begin at 0 here. */
#ifdef __x86_64__
#define PROCESSOR_NUMBER ((volatile uint16_t *)0x184)
#else
#define PROCESSOR_NUMBER ((volatile uint8_t *)0x51)
#endif

typedef VOID (NTAPI *CALLBACK)(PSTRING, ULONG, ULONG);
typedef NTSTATUS (NTAPI *ENTRY)(PDRIVER_OBJECT, PUNICODE_STRING);

static DRIVER_OBJECT driver;
static DEVICE_OBJECT device;
static CALLBACK callback;
static int devices, links, in_callback, nest, serving;
static uint32_t walked, time, newer, completed;

static int Equal(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

/* Prints are made at a level at which next to nothing may be called. */
static void Low(const char *name)
{
    if (in_callback) {
        Report("forbidden %s", name);
    }
}

static uintptr_t Flags(void)
{
    uintptr_t flags;
    __asm__ volatile("pushf; pop %0" : "=r"(flags));
    return flags;
}

/* What the kernel does for each DbgPrint that passes the filter. */
void KernelPrint(const char *text, uint32_t length, uint32_t component, uint32_t level)
{
    STRING string;

    string.Buffer = (char *)(uintptr_t)text;
    string.Length = string.MaximumLength = (USHORT)length;
    if (callback) {
        in_callback++;
        callback(&string, component, level);
        in_callback--;
    }
}

static void MakePrint(const char *text, ULONG component, ULONG level)
{
    KernelPrint(text, (uint32_t)Length(text), component, level);
}

void KernelLose(uint32_t prints)
{
    nest = (int)prints;
}

/* ---- routines that the driver may ask for ------------------------------------------------------------------------- */

static NTSTATUS NTAPI MyCreateDevice(PDRIVER_OBJECT of, ULONG size, PUNICODE_STRING name, DEVICE_TYPE type, ULONG flags,
                                     BOOLEAN exclusive, PDEVICE_OBJECT *made)
{
    (void)size, (void)name, (void)type, (void)flags, (void)exclusive;
    Low("IoCreateDevice");
    devices++;
    of->DeviceObject = *made = &device;
    return STATUS_SUCCESS;
}

static VOID NTAPI MyDeleteDevice(PDEVICE_OBJECT which)
{
    Low("IoDeleteDevice");
    devices -= which == &device;
}

static NTSTATUS NTAPI MyCreateLink(PUNICODE_STRING link, PUNICODE_STRING name)
{
    (void)link, (void)name;
    Low("IoCreateSymbolicLink");
    links++;
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI MyDeleteLink(PUNICODE_STRING link)
{
    (void)link;
    Low("IoDeleteSymbolicLink");
    links--;
    return STATUS_SUCCESS;
}

static VOID FASTCALL MyComplete(PIRP irp, CCHAR boost)
{
    (void)irp, (void)boost;
    Low("IofCompleteRequest");
    completed++;
}

static NTSTATUS NTAPI MyDelay(KPROCESSOR_MODE mode, BOOLEAN alertable, PLARGE_INTEGER interval)
{
    (void)mode, (void)alertable, (void)interval;
    Low("KeDelayExecutionThread");
    Report("delayed");
    return STATUS_SUCCESS;
}

static KAFFINITY NTAPI MyProcessors(VOID)
{
    Low("KeQueryActiveProcessors");
    return 0x15; /* numbers need not be without holes */
}

static VOID NTAPI MyAffinity(KAFFINITY mask)
{
    Low("KeSetSystemAffinityThread");
    if (callback) {
        Report("walked too early");
    }
    walked = walked << 8 | (uint32_t)mask;
}

static VOID NTAPI MyRevert(VOID)
{
    Low("KeRevertToUserAffinityThread");
    Report("walked %x", walked);
}

static VOID NTAPI MySystemTime(PLARGE_INTEGER now)
{
    now->QuadPart = 0x1234567890;
}

/* Asked within the lock: interrupts are off, and a print from here is one of an NMI. */
static ULONGLONG NTAPI MyInterruptTime(VOID)
{
    if (Flags() & INTERRUPT_FLAG) {
        Report("interrupts are on while a record is written");
    }
    while (nest) {
        nest--;
        MakePrint("an NMI's print", 1, 1);
    }
#ifdef __x86_64__
    if (serving) {
        return ServeTime();
    }
#endif
    return (ULONGLONG)++time * 10000000u;
}

static ULONG64 NTAPI MyInterruptTimePrecise(PULONG64 counter)
{
    *counter = 0;
    return MyInterruptTime();
}

static ULONG NTAPI MyProcessorEx(PVOID number)
{
    return number ? 99 : 3;
}

static NTSTATUS NTAPI MySetCallback(CALLBACK which, BOOLEAN enable)
{
    Low("DbgSetDebugPrintCallback");
    if (enable) {
        callback = which;
    } else if (callback == which) {
        callback = NULL;
    }
    return STATUS_SUCCESS;
}

static ULONG __cdecl MyPrint(ULONG component, ULONG level, PCSTR format, PCSTR words)
{
    Low("DbgPrintEx");
    Report("says component=%u level=%u", (uint32_t)component, (uint32_t)level);
    Report(Equal(format, "labrelay: %s\n") ? "labrelay: %s" : "unknown format %s", words);
    MakePrint(words, component, level);
    return 0;
}

static VOID NTAPI MyInitString(PUNICODE_STRING string, PCWSTR text)
{
    string->Buffer = (PWSTR)(uintptr_t)text;
    for (string->Length = 0; text[string->Length / sizeof(WCHAR)]; string->Length += sizeof(WCHAR)) {
    }
    string->MaximumLength = string->Length + sizeof(WCHAR);
}

static VOID NTAPI MyCapture(PCONTEXT context)
{
    uint16_t cs;
    __asm__("movw %%cs, %0" : "=r"(cs));
    context->SegCs = cs | Option("ring", 0);
}

static PVOID NTAPI MyRoutine(PUNICODE_STRING name);

static const struct {
    const char *name;
    const void *routine;
    int since; /* 0: every kernel; 1: with print callbacks; 2: newer; not imported but looked up, if not 0 */
} routines[] = {
    {"IoCreateDevice", MyCreateDevice, 0},
    {"IoDeleteDevice", MyDeleteDevice, 0},
    {"IoCreateSymbolicLink", MyCreateLink, 0},
    {"IoDeleteSymbolicLink", MyDeleteLink, 0},
    {"IofCompleteRequest", MyComplete, 0},
    {"KeDelayExecutionThread", MyDelay, 0},
    {"KeQueryActiveProcessors", MyProcessors, 0},
    {"KeSetSystemAffinityThread", MyAffinity, 0},
    {"KeRevertToUserAffinityThread", MyRevert, 0},
    {"KeQuerySystemTime", MySystemTime, 0},
    {"KeQueryInterruptTime", MyInterruptTime, 0},
    {"MmGetSystemRoutineAddress", MyRoutine, 0},
    {"RtlInitUnicodeString", MyInitString, 0},
    {"RtlCaptureContext", MyCapture, 0},
    {"DbgPrintEx", MyPrint, 0},
    {"memset", memset, 0},
    {"DbgSetDebugPrintCallback", MySetCallback, 1},
    {"KeQueryInterruptTimePrecise", MyInterruptTimePrecise, 2},
    {"KeGetCurrentProcessorNumberEx", MyProcessorEx, 2},
};

static PVOID NTAPI MyRoutine(PUNICODE_STRING name)
{
    char narrow[64];
    unsigned int i;

    Low("MmGetSystemRoutineAddress");
    for (i = 0; i < name->Length / sizeof(WCHAR) && i + 1 < sizeof(narrow); i++) {
        narrow[i] = (char)name->Buffer[i];
    }
    narrow[i] = 0;
    for (i = 0; i < sizeof(routines) / sizeof(routines[0]); i++) {
        int there = routines[i].since == 1 ? (int)Option("callback", 1) : newer != 0;
        if (routines[i].since && there && Equal(routines[i].name, narrow)) {
            return (PVOID)(uintptr_t)routines[i].routine;
        }
    }
    return NULL;
}

/* ---- the loader ----------------------------------------------------------------------------------------------------- */

#define U16(at) (*(const uint16_t *)(at))
#define U32(at) (*(const uint32_t *)(at))

static const void *Import(const char *name)
{
    for (unsigned int i = 0; i < sizeof(routines) / sizeof(routines[0]); i++) {
        if (!routines[i].since && Equal(routines[i].name, name)) {
            return routines[i].routine;
        }
    }
    Report("no such import: %s", name);
    PowerOff();
}

#ifdef __x86_64__
#define PREFERRED_BASE(optional) (*(const uint64_t *)((optional) + 24))
#define DIRECTORIES 112
#define ABSOLUTE 10 /* the kind of relocation that a pointer has */
#else
#define PREFERRED_BASE(optional) U32((optional) + 28)
#define DIRECTORIES 96
#define ABSOLUTE 3
#endif

/* Returns the entry point of a PE file, loaded at IMAGE_BASE. */
static ENTRY LoadImage(const uint8_t *file)
{
    uint8_t *image = (uint8_t *)(uintptr_t)IMAGE_BASE;
    const uint8_t *header = file + U32(file + 0x3C), *optional = header + 24;
    const uint8_t *section = optional + U16(header + 20), *directories = optional + DIRECTORIES;
    uintptr_t moved = IMAGE_BASE - (uintptr_t)PREFERRED_BASE(optional);

    memset(image, 0, U32(optional + 56));
    memcpy(image, file, U32(optional + 60));
    for (unsigned int i = 0; i < U16(header + 6); i++, section += 40) {
        uint32_t in_file = U32(section + 16), in_memory = U32(section + 8);
        memcpy(image + U32(section + 12), file + U32(section + 20), in_file < in_memory ? in_file : in_memory);
    }
    const uint8_t *block = image + U32(directories + 5 * 8), *end = block + U32(directories + 5 * 8 + 4);
    for (; block < end && U32(block + 4); block += U32(block + 4)) {
        for (uint32_t i = 8; i < U32(block + 4); i += 2) {
            if (U16(block + i) >> 12 == ABSOLUTE) {
                *(uintptr_t *)(image + U32(block) + (U16(block + i) & 0xFFF)) += moved;
            }
        }
    }
    for (const uint8_t *module = image + U32(directories + 8); U32(module + 12); module += 20) {
        uintptr_t *slot = (uintptr_t *)(image + U32(module + 16));
        for (; *slot; slot++) {
            *slot = (uintptr_t)Import((const char *)image + *slot + 2);
        }
    }
    return (ENTRY)(uintptr_t)(image + U32(optional + 16));
}

/* ---- what is done with the driver ------------------------------------------------------------------------------------ */

static NTSTATUS Request(UCHAR major, ULONG code, const char *input, ULONG length)
{
    static IRP irp;
    static IO_STACK_LOCATION stack;
    uint32_t before = completed;

    stack.MajorFunction = major;
    stack.Parameters.DeviceIoControl.IoControlCode = code;
    stack.Parameters.DeviceIoControl.InputBufferLength = length;
    irp.AssociatedIrp.SystemBuffer = (PVOID)(uintptr_t)input;
    irp.Tail.Overlay.CurrentStackLocation = &stack;
    irp.IoStatus.Status = STATUS_PENDING;
    NTSTATUS status = driver.MajorFunction[major](&device, &irp);
    if (completed != before + 1 || irp.IoStatus.Status != status) {
        Report("a request was not completed as it ended");
    }
    return status;
}

uint32_t KernelMark(const char *token, uint32_t length)
{
    return (uint32_t)Request(IRP_MJ_DEVICE_CONTROL, IOCTL_RELAY_MARK, token, length);
}

static void Mark(const char *token)
{
    Report("mark %x", KernelMark(token, (uint32_t)Length(token)));
}

static void Work(void)
{
    char line[64], too_long[RELAY_TOKEN_MAX + 2];
    uint32_t prints = Option("prints", 10);

    Report("open %x", (uint32_t)Request(IRP_MJ_CREATE, 0, NULL, 0));
    Mark("begin");
    for (uint32_t i = 0; i < prints; i++) {
        Format(line, sizeof(line), "print %u\n", i);
        MakePrint(line, 77, i);
    }
    nest = 2; /* two prints come in the middle of this one, on its own processor */
    MakePrint("around", 77, 3);
    MakePrint("", 77, 3);
    Mark("two words");
    Mark("");
    memset(too_long, 'x', sizeof(too_long));
    too_long[RELAY_TOKEN_MAX + 1] = 0;
    Mark(too_long);
    Report("other %x", (uint32_t)Request(IRP_MJ_DEVICE_CONTROL, IOCTL_RELAY_MARK + 4, "x", 1));
    Report("read %x", (uint32_t)Request(IRP_MJ_READ, 0, NULL, 0));
    Mark("end");
    Report("close %x", (uint32_t)Request(IRP_MJ_CLEANUP, 0, NULL, 0) | (uint32_t)Request(IRP_MJ_CLOSE, 0, NULL, 0));
}

void Main(uint32_t magic, const uint32_t *information)
{
    UNICODE_STRING path = {0, 0, NULL};

    SerialOpen(COM2, 0);
    if (magic != MULTIBOOT_MAGIC || !(information[0] & 8) || !information[5]) {
        Report("the driver's file is missing");
        PowerOff();
    }
    OptionsAre((const char *)(uintptr_t)information[4]);
    newer = Option("newer", 1);
    /* All lines of both interrupt controllers are masked, so that interrupts can be on, as they are for a driver. */
    __asm__ volatile("outb %%al, $0x21; outb %%al, $0xA1; sti" : : "a"((uint8_t)0xFF));

    *PROCESSOR_NUMBER = 5;
#ifdef __x86_64__
    *(volatile uint64_t *)(SharedInterruptTime) = 70000000;
#endif

    ENTRY entry = LoadImage((const uint8_t *)(uintptr_t)*(const uint32_t *)(uintptr_t)information[6]);
    Report("entry %x", (uint32_t)entry(&driver, &path));
    Report("devices=%u links=%u callback=%u", devices, links, callback != NULL);
    serving = Option("serve", 0) != 0;
    if (!serving) {
        Work();
    }
#ifdef __x86_64__
    else {
        Serve();
    }
#endif
    driver.DriverUnload(&driver);
    Report("devices=%u links=%u callback=%u", devices, links, callback != NULL);
    MakePrint("nobody hears this", 77, 3);
    Report("interrupts %u", (Flags() & INTERRUPT_FLAG) != 0);
    PowerOff();
}
