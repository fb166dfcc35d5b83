#include <ntddk.h>
#include <boiler.h>

namespace {

class Gauge {
public:
    virtual ~Gauge() = default;
    virtual int Read() const = 0;
};

class Fixed final : public Gauge {
public:
    explicit Fixed(int value) : value_(value) {}
    int Read() const override { return value_; }

private:
    int value_;
};

Gauge *g_Gauge;
PDEVICE_OBJECT g_Device;

} // namespace

void *operator new(size_t size)
{
    return ExAllocatePool2(POOL_FLAG_NON_PAGED, size, BOILER_TAG);
}

void operator delete(void *memory)
{
    ExFreePoolWithTag(memory, BOILER_TAG);
}

void operator delete(void *memory, size_t)
{
    ExFreePoolWithTag(memory, BOILER_TAG);
}

static VOID NTAPI GaugeUnload(PDRIVER_OBJECT)
{
    delete g_Gauge;
    IoDeleteDevice(g_Device);
    DbgPrint("gauge: unloaded\n");
}

extern "C" NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\LabBoilerGauge");
    NTSTATUS status = IoCreateDevice(driver, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &g_Device);
    if (!NT_SUCCESS(status))
        return status;
    driver->DriverUnload = GaugeUnload;
    g_Gauge = new Fixed(42);
    DbgPrint("gauge: reads %d\n", g_Gauge ? g_Gauge->Read() : -1);
    return STATUS_SUCCESS;
}
