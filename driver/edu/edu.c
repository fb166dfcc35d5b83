/*
 * edu.c - a driver for QEMU's device for education (1234:11e8), without plug and play, as drivers of NT 4 were.
 *
 * It looks for the device on the PCI buses (HalGetBusData), maps its registers (MmMapIoSpace) and connects to its interrupt
 * (HalGetInterruptVector, IoConnectInterrupt). An application asks by device control: see edu.h. A request that waits for an
 * interrupt is pended; the service routine acknowledges the interrupt and queues a DPC, which completes the request.
 *
 * One request at a time waits for an interrupt: a second one ends with STATUS_DEVICE_BUSY.
 */
#include "../common/wdm.h"
#include "edu.h"

#define DEVICE_NAME L"\\Device\\LabEdu"
#define LINK_NAME L"\\DosDevices\\LabEdu"

#ifdef __GNUC__
/* The headers of mingw-w64 leave out what is for drivers without plug and play. */
NTHALAPI ULONG NTAPI HalGetInterruptVector(INTERFACE_TYPE, ULONG, ULONG, ULONG, PKIRQL, PKAFFINITY);
NTHALAPI ULONG NTAPI HalGetBusDataByOffset(BUS_DATA_TYPE, ULONG, ULONG, PVOID, ULONG, ULONG);
NTHALAPI ULONG NTAPI HalSetBusDataByOffset(BUS_DATA_TYPE, ULONG, ULONG, PVOID, ULONG, ULONG);
#endif

#define VENDOR 0x1234
#define DEVICE 0x11E8
#define BUSES 8
#define REGISTERS_LENGTH 0x1000

/* Offsets of the registers. */
#define IDENTIFICATION 0x00
#define LIVENESS 0x04
#define FACTORIAL 0x08
#define STATUS 0x20
#define INTERRUPT_STATUS 0x24
#define INTERRUPT_RAISE 0x60
#define INTERRUPT_ACKNOWLEDGE 0x64

#define DMA_SOURCE 0x80
#define DMA_DESTINATION 0x88
#define DMA_COUNT 0x90
#define DMA_COMMAND 0x98

#define DMA_START 0x01
#define DMA_FROM_DEVICE 0x02
#define DMA_BUFFER 0x40000          /* of the device, as it sees it */
#define HIGHEST_DMA_ADDRESS 0x0FFFFFFF  /* the device's own mask */

#define STATUS_COMPUTING 0x01
#define STATUS_INTERRUPT_WHEN_DONE 0x80
#define FACTORIAL_INTERRUPT 0x00000001  /* what the device itself raises */

typedef struct _EDU {
    ULONG bus, slot;
    PUCHAR registers;
    PKINTERRUPT interrupt;
    KSPIN_LOCK lock;            /* of `waiting` */
    PIRP waiting;               /* for an interrupt */
    BOOLEAN wants_factorial;    /* what `waiting` is to be answered */
    ULONG raised;               /* interrupt status, from the service routine for the DPC */
} EDU;

static ULONG Read(EDU *edu, ULONG offset)
{
    return READ_REGISTER_ULONG((PULONG)(edu->registers + offset));
}

static VOID Write(EDU *edu, ULONG offset, ULONG value)
{
    WRITE_REGISTER_ULONG((PULONG)(edu->registers + offset), value);
}

static NTSTATUS Answer(PIRP irp, ULONG value)
{
    *(PULONG)irp->AssociatedIrp.SystemBuffer = value;
    return Complete(irp, STATUS_SUCCESS, sizeof(ULONG));
}

/* Takes the request that waits, or NULL when other code has taken it; the one that took it completes it. */
static PIRP TakeWaiting(EDU *edu)
{
    KIRQL irql;
    PIRP irp;

    KeAcquireSpinLock(&edu->lock, &irql);
    irp = edu->waiting;
    if (irp != NULL && IoSetCancelRoutine(irp, NULL) == NULL)
        irp = NULL;  /* its cancel routine is about to take it */
    else
        edu->waiting = NULL;
    KeReleaseSpinLock(&edu->lock, irql);
    return irp;
}

static VOID NTAPI Cancel(PDEVICE_OBJECT device, PIRP irp)
{
    EDU *edu = (EDU *)device->DeviceExtension;
    KIRQL irql;

    IoReleaseCancelSpinLock(irp->CancelIrql);
    KeAcquireSpinLock(&edu->lock, &irql);
    if (edu->waiting == irp)
        edu->waiting = NULL;
    KeReleaseSpinLock(&edu->lock, irql);
    Complete(irp, STATUS_CANCELLED, 0);
}

static BOOLEAN NTAPI ServiceInterrupt(PKINTERRUPT interrupt, PVOID context)
{
    PDEVICE_OBJECT device = (PDEVICE_OBJECT)context;
    EDU *edu = (EDU *)device->DeviceExtension;
    ULONG raised = Read(edu, INTERRUPT_STATUS);

    UNREFERENCED_PARAMETER(interrupt);
    if (raised == 0)
        return FALSE;  /* another device's, on the same line */
    Write(edu, INTERRUPT_ACKNOWLEDGE, raised);
    edu->raised = raised;
    IoRequestDpc(device, NULL, NULL);
    return TRUE;
}

static VOID NTAPI FinishInterrupt(PKDPC dpc, PDEVICE_OBJECT device, PIRP unused, PVOID context)
{
    EDU *edu = (EDU *)device->DeviceExtension;
    ULONG raised = edu->raised;
    BOOLEAN factorial = edu->wants_factorial;
    PIRP irp = TakeWaiting(edu);

    UNREFERENCED_PARAMETER(dpc);
    UNREFERENCED_PARAMETER(unused);
    UNREFERENCED_PARAMETER(context);
    DbgPrint("edu: interrupt 0x%08x%s\n", raised, irp != NULL ? "" : ", and no request waits");
    if (irp != NULL)
        Answer(irp, factorial ? Read(edu, FACTORIAL) : raised);
}

/* Has a request wait for an interrupt; the device may raise it as soon as this returns TRUE. */
static NTSTATUS Pend(PDEVICE_OBJECT device, PIRP irp, BOOLEAN factorial)
{
    EDU *edu = (EDU *)device->DeviceExtension;
    NTSTATUS status = STATUS_PENDING;
    KIRQL irql;

    if (edu->interrupt == NULL)
        return STATUS_NOT_SUPPORTED;
    KeAcquireSpinLock(&edu->lock, &irql);
    if (edu->waiting != NULL) {
        status = STATUS_DEVICE_BUSY;
    } else {
        IoMarkIrpPending(irp);
        edu->waiting = irp;
        edu->wants_factorial = factorial;
        IoSetCancelRoutine(irp, Cancel);
    }
    KeReleaseSpinLock(&edu->lock, irql);
    return status;
}

static VOID Pause(VOID)
{
    LARGE_INTEGER pause;

    pause.QuadPart = -10000;  /* 1 ms */
    KeDelayExecutionThread(KernelMode, FALSE, &pause);
}

static VOID Transfer(EDU *edu, ULONG source, ULONG destination, ULONG command)
{
    Write(edu, DMA_SOURCE, source);
    Write(edu, DMA_DESTINATION, destination);
    Write(edu, DMA_COUNT, sizeof(ULONG));
    Write(edu, DMA_COMMAND, command | DMA_START);
    while (Read(edu, DMA_COMMAND) & DMA_START)
        Pause();
}

/* A value into the device's buffer and back, by memory of which the device knows the physical address. */
static NTSTATUS Copy(EDU *edu, PULONG value)
{
    PHYSICAL_ADDRESS highest, address;
    volatile ULONG *buffer;
    USHORT command = 0;

    highest.QuadPart = HIGHEST_DMA_ADDRESS;
    buffer = MmAllocateContiguousMemory(PAGE_SIZE, highest);
    if (buffer == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    address = MmGetPhysicalAddress((PVOID)buffer);
    HalGetBusDataByOffset(PCIConfiguration, edu->bus, edu->slot, &command, FIELD_OFFSET(PCI_COMMON_CONFIG, Command),
                          sizeof(command));
    command |= PCI_ENABLE_BUS_MASTER;
    HalSetBusDataByOffset(PCIConfiguration, edu->bus, edu->slot, &command, FIELD_OFFSET(PCI_COMMON_CONFIG, Command),
                          sizeof(command));
    *buffer = *value;
    Transfer(edu, (ULONG)address.QuadPart, DMA_BUFFER, 0);
    *buffer = 0;
    Transfer(edu, DMA_BUFFER, (ULONG)address.QuadPart, DMA_FROM_DEVICE);
    *value = *buffer;
    MmFreeContiguousMemory((PVOID)buffer);
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI DispatchControl(PDEVICE_OBJECT device, PIRP irp)
{
    EDU *edu = (EDU *)device->DeviceExtension;
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
    ULONG code = location->Parameters.DeviceIoControl.IoControlCode;
    ULONG value = 0;
    NTSTATUS status;

    if (location->Parameters.DeviceIoControl.OutputBufferLength < sizeof(ULONG))
        return Complete(irp, STATUS_BUFFER_TOO_SMALL, 0);
    if (code != IOCTL_EDU_IDENTIFY) {
        if (location->Parameters.DeviceIoControl.InputBufferLength < sizeof(ULONG))
            return Complete(irp, STATUS_INVALID_PARAMETER, 0);
        value = *(PULONG)irp->AssociatedIrp.SystemBuffer;
    }
    switch (code) {
    case IOCTL_EDU_IDENTIFY:
        return Answer(irp, Read(edu, IDENTIFICATION));
    case IOCTL_EDU_INVERT:
        Write(edu, LIVENESS, value);
        return Answer(irp, Read(edu, LIVENESS));
    case IOCTL_EDU_FACTORIAL:
        Write(edu, STATUS, 0);
        Write(edu, FACTORIAL, value);
        while (Read(edu, STATUS) & STATUS_COMPUTING)
            Pause();
        return Answer(irp, Read(edu, FACTORIAL));
    case IOCTL_EDU_INTERRUPT:
    case IOCTL_EDU_FACTORIAL_BY_INTERRUPT:
        if (value == 0 && code == IOCTL_EDU_INTERRUPT)
            return Complete(irp, STATUS_INVALID_PARAMETER, 0);  /* raises nothing: the request would wait for ever */
        status = Pend(device, irp, code == IOCTL_EDU_FACTORIAL_BY_INTERRUPT);
        if (status != STATUS_PENDING)
            return Complete(irp, status, 0);
        /* From here on the request may be gone. */
        if (code == IOCTL_EDU_INTERRUPT) {
            Write(edu, INTERRUPT_RAISE, value);
        } else {
            Write(edu, STATUS, STATUS_INTERRUPT_WHEN_DONE);
            Write(edu, FACTORIAL, value);
        }
        return STATUS_PENDING;
    case IOCTL_EDU_COPY:
        status = Copy(edu, &value);
        return NT_SUCCESS(status) ? Answer(irp, value) : Complete(irp, status, 0);
    default:
        return Complete(irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }
}

static BOOLEAN FindDevice(PULONG bus, PULONG slot, PPCI_COMMON_CONFIG configuration)
{
    PCI_SLOT_NUMBER number;

    for (*bus = 0; *bus < BUSES; (*bus)++) {
        number.u.AsULONG = 0;
        for (number.u.bits.DeviceNumber = 0;; number.u.bits.DeviceNumber++) {
            if (HalGetBusDataByOffset(PCIConfiguration, *bus, number.u.AsULONG, configuration, 0, PCI_COMMON_HDR_LENGTH)
                    == PCI_COMMON_HDR_LENGTH
                && configuration->VendorID == VENDOR && configuration->DeviceID == DEVICE) {
                *slot = number.u.AsULONG;
                return TRUE;
            }
            if (number.u.bits.DeviceNumber == PCI_MAX_DEVICES - 1)
                break;
        }
    }
    return FALSE;
}

static VOID ConnectInterrupt(PDEVICE_OBJECT device, ULONG bus, PPCI_COMMON_CONFIG configuration)
{
    EDU *edu = (EDU *)device->DeviceExtension;
    ULONG line = configuration->u.type0.InterruptLine;
    KAFFINITY affinity;
    NTSTATUS status;
    ULONG vector;
    KIRQL irql;

    if (configuration->u.type0.InterruptPin == 0)
        return;
    vector = HalGetInterruptVector(PCIBus, bus, line, line, &irql, &affinity);
    status = IoConnectInterrupt(&edu->interrupt, ServiceInterrupt, device, NULL, vector, irql, irql, LevelSensitive, TRUE,
                                affinity, FALSE);
    if (NT_SUCCESS(status)) {
        DbgPrint("edu: connected to interrupt line %u\n", line);
    } else {
        edu->interrupt = NULL;
        DbgPrint("edu: no interrupts: 0x%08x\n", status);
    }
}

static VOID NTAPI Unload(PDRIVER_OBJECT driver)
{
    PDEVICE_OBJECT device = driver->DeviceObject;
    EDU *edu = (EDU *)device->DeviceExtension;
    PIRP irp;

    Write(edu, STATUS, 0);
    if (edu->interrupt != NULL)
        IoDisconnectInterrupt(edu->interrupt);
    KeFlushQueuedDpcs();
    irp = TakeWaiting(edu);
    if (irp != NULL)
        Complete(irp, STATUS_CANCELLED, 0);
    MmUnmapIoSpace(edu->registers, REGISTERS_LENGTH);
    DeleteLinkAndDevice(driver, LINK_NAME);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    PCI_COMMON_CONFIG configuration;
    PHYSICAL_ADDRESS address;
    PDEVICE_OBJECT device;
    ULONG bus, slot;
    NTSTATUS status;
    PVOID registers;
    EDU *edu;

    UNREFERENCED_PARAMETER(path);
    if (!FindDevice(&bus, &slot, &configuration)) {
        DbgPrint("edu: this machine has no such device\n");
        return STATUS_NO_SUCH_DEVICE;
    }
    status = CreateDevice(driver, DEVICE_NAME, sizeof(EDU), &device);
    if (!NT_SUCCESS(status))
        return status;
    edu = (EDU *)device->DeviceExtension;
    RtlZeroMemory(edu, sizeof(*edu));
    edu->bus = bus;
    edu->slot = slot;
    KeInitializeSpinLock(&edu->lock);
    IoInitializeDpcRequest(device, FinishInterrupt);
    address.QuadPart = configuration.u.type0.BaseAddresses[0] & ~0xFULL;
    edu->registers = MmMapIoSpace(address, REGISTERS_LENGTH, MmNonCached);
    if (edu->registers == NULL) {
        IoDeleteDevice(device);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    DbgPrint("edu: slot %u, registers at 0x%I64x, identification 0x%08x\n", slot & 31, address.QuadPart,
             Read(edu, IDENTIFICATION));
    SetRoutines(driver, Unload);
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = DispatchControl;
    registers = edu->registers;
    status = CreateLink(device, LINK_NAME, DEVICE_NAME);
    if (NT_SUCCESS(status))
        ConnectInterrupt(device, bus, &configuration);
    else
        MmUnmapIoSpace(registers, REGISTERS_LENGTH);
    return status;
}
