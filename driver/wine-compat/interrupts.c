/*
 * interrupts.c - interrupts of PCI devices for drivers that connect to them by IoConnectInterrupt, which Wine only declares.
 *
 * The guest's boot script gives each PCI device without a Linux driver to Linux' uio_pci_generic. That masks the device's
 * interrupt pin whenever it is raised, and a read of the device's uio file returns. Here a thread for each such device reads,
 * calls the service routines that are connected to the device's line, and unmasks the pin. A pin that is still raised
 * interrupts again, as a level-triggered line does.
 *
 * A service routine runs in that thread, with the interrupt's lock held, and so does what KeSynchronizeExecution is given. It
 * interrupts nothing: what a driver leaves unguarded against its own interrupts may go well here and fail on Windows.
 */
#include "replaced.h"

#define FIRST_VECTOR 0x30   /* of line 0; drivers only hand it on */
#define DEVICE_IRQL 10
#define MOST_DEVICES 16
#define PCI_INTERRUPT_DISABLE 0x0400
#define POOL_TAG 0x6E62614CUL   /* Labn */

typedef struct _CONNECTION {
    LIST_ENTRY link;
    PKSERVICE_ROUTINE routine;
    PVOID context;
    PKSPIN_LOCK lock;
    KSPIN_LOCK own_lock;
    ULONG line;
} CONNECTION;

typedef struct _LISTENER {
    ULONG bus, slot, line;
    HANDLE file;
} LISTENER;

typedef struct _SEARCH {
    ULONG line;
    ULONG found;
} SEARCH;

static LIST_ENTRY Connections;
static KMUTEX Guard;    /* of the list, and of the listeners; held while service routines run, so that a disconnect waits */
static LISTENER Listeners[MOST_DEVICES];
static ULONG ListenerCount;

static VOID Acquire(VOID)
{
    KeWaitForSingleObject(&Guard, Executive, KernelMode, FALSE, NULL);
}

static VOID Release(VOID)
{
    KeReleaseMutex(&Guard, FALSE);
}

/* Lets the device's pin interrupt again. */
static VOID Unmask(const LISTENER *listener)
{
    USHORT command;

    if (ConfigurationSpace(listener->bus, listener->slot, &command, FIELD_OFFSET(PCI_COMMON_CONFIG, Command), sizeof(command),
                           FALSE) != sizeof(command))
        return;
    command &= ~PCI_INTERRUPT_DISABLE;
    ConfigurationSpace(listener->bus, listener->slot, &command, FIELD_OFFSET(PCI_COMMON_CONFIG, Command), sizeof(command), TRUE);
}

static VOID CallServiceRoutines(ULONG line)
{
    PLIST_ENTRY entry;

    Acquire();
    for (entry = Connections.Flink; entry != &Connections; entry = entry->Flink) {
        CONNECTION *connection = CONTAINING_RECORD(entry, CONNECTION, link);
        KIRQL irql;

        if (connection->line != line)
            continue;
        KeAcquireSpinLock(connection->lock, &irql);
        connection->routine((PKINTERRUPT)connection, connection->context);
        KeReleaseSpinLock(connection->lock, irql);
    }
    Release();
}

static VOID NTAPI Listen(PVOID context)
{
    LISTENER *listener = (LISTENER *)context;
    LARGE_INTEGER at, pause;
    IO_STATUS_BLOCK io;
    ULONG count;

    pause.QuadPart = -10000;  /* 1 ms */
    for (;;) {
        NTSTATUS status;

        at.QuadPart = 0;
        io.Information = 0;
        status = ZwReadFile(listener->file, NULL, NULL, NULL, &io, &count, sizeof(count), &at, NULL);
        if (!NT_SUCCESS(status) || io.Information != sizeof(count)) {
            KeDelayExecutionThread(KernelMode, FALSE, &pause);
            continue;
        }
        CallServiceRoutines(listener->line);
        Unmask(listener);
    }
}

/* Starts to listen to a device that is on the line, and has a uio file, unless it is listened to already. */
static BOOLEAN ListenIfOnLine(ULONG bus, ULONG slot, PVOID context)
{
    SEARCH *search = (SEARCH *)context;
    LISTENER *listener;
    UCHAR line, pin;
    ULONG index;
    HANDLE thread;

    if (ConfigurationSpace(bus, slot, &line, 0x3C, 1, FALSE) != 1 || ConfigurationSpace(bus, slot, &pin, 0x3D, 1, FALSE) != 1
        || line != search->line || pin == 0)
        return TRUE;
    for (index = 0; index < ListenerCount; index++) {
        if (Listeners[index].bus == bus && Listeners[index].slot == slot) {
            search->found++;
            return TRUE;
        }
    }
    listener = &Listeners[ListenerCount];
    if (ListenerCount == MOST_DEVICES || !NT_SUCCESS(OpenUioFile(bus, slot, &listener->file)))
        return TRUE;
    listener->bus = bus;
    listener->slot = slot;
    listener->line = line;
    if (!NT_SUCCESS(PsCreateSystemThread(&thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, Listen, listener))) {
        ZwClose(listener->file);
        return TRUE;
    }
    ZwClose(thread);
    ListenerCount++;
    search->found++;
    Unmask(listener);
    return TRUE;
}

ULONG NTAPI LabGetInterruptVector(INTERFACE_TYPE type, ULONG bus, ULONG level, ULONG vector, PKIRQL irql, PKAFFINITY affinity)
{
    UNREFERENCED_PARAMETER(type);
    UNREFERENCED_PARAMETER(bus);
    UNREFERENCED_PARAMETER(vector);
    *irql = DEVICE_IRQL;
    *affinity = 1;
    return FIRST_VECTOR + level;
}

static NTSTATUS NTAPI LabConnectInterrupt(PKINTERRUPT *interrupt, PKSERVICE_ROUTINE routine, PVOID context, PKSPIN_LOCK lock,
                                          ULONG vector, KIRQL irql, KIRQL synchronize_irql, KINTERRUPT_MODE mode, BOOLEAN share,
                                          KAFFINITY affinity, BOOLEAN floating_save)
{
    CONNECTION *connection;
    SEARCH search = { vector - FIRST_VECTOR, 0 };

    UNREFERENCED_PARAMETER(irql);
    UNREFERENCED_PARAMETER(synchronize_irql);
    UNREFERENCED_PARAMETER(mode);
    UNREFERENCED_PARAMETER(share);
    UNREFERENCED_PARAMETER(affinity);
    UNREFERENCED_PARAMETER(floating_save);

    *interrupt = NULL;
    connection = ExAllocatePoolWithTag(NonPagedPool, sizeof(*connection), POOL_TAG);
    if (connection == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    RtlZeroMemory(connection, sizeof(*connection));
    KeInitializeSpinLock(&connection->own_lock);
    connection->routine = routine;
    connection->context = context;
    connection->lock = lock != NULL ? lock : &connection->own_lock;
    connection->line = search.line;
    *interrupt = (PKINTERRUPT)connection;  /* the first interrupt may come at once */
    Acquire();
    InsertTailList(&Connections, &connection->link);
    ForEachPciDevice(ListenIfOnLine, &search);
    Release();
    if (search.found == 0)
        SayLacking("ntoskrnl.exe", "IoConnectInterrupt");  /* no device of this line is ours to listen to */
    return STATUS_SUCCESS;
}

static VOID NTAPI LabDisconnectInterrupt(PKINTERRUPT interrupt)
{
    CONNECTION *connection = (CONNECTION *)interrupt;

    Acquire();
    RemoveEntryList(&connection->link);
    Release();
    ExFreePoolWithTag(connection, POOL_TAG);
}

static BOOLEAN NTAPI LabSynchronizeExecution(PKINTERRUPT interrupt, PKSYNCHRONIZE_ROUTINE routine, PVOID context)
{
    CONNECTION *connection = (CONNECTION *)interrupt;
    BOOLEAN result;
    KIRQL irql;

    KeAcquireSpinLock(connection->lock, &irql);
    result = routine(context);
    KeReleaseSpinLock(connection->lock, irql);
    return result;
}

VOID InitializeInterrupts(VOID)
{
    InitializeListHead(&Connections);
    KeInitializeMutex(&Guard, 0);
}

const REPLACEMENT InterruptReplacements[] = {
    { L"IoConnectInterrupt", (PVOID)LabConnectInterrupt },
    { L"IoDisconnectInterrupt", (PVOID)LabDisconnectInterrupt },
    { L"KeSynchronizeExecution", (PVOID)LabSynchronizeExecution },
};
const ULONG InterruptReplacementCount = RTL_NUMBER_OF(InterruptReplacements);
