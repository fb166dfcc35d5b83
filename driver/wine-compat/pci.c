/*
 * pci.c - the machine's PCI devices, as a driver without plug and play reaches them: configuration space and registers.
 *
 * Wine's HalGetBusData returns 0 and its MmMapIoSpace a null pointer. Linux shows each PCI device as a folder of files, of which
 * the guest's boot script gives those of devices without a Linux driver to the user that Wine runs as: `config` is read and
 * written, `resourceN` mapped, and then a load or store of the driver is one of the device's registers. Both go through the file
 * functions that every driver has (a path below \??\unix), so that nothing of Linux is called from here.
 *
 * What cannot be had is reported as lacking, never as the driver's fault: physical addresses that are no device's, and the
 * configuration space after its first 64 bytes, which Linux shows to its administrator only.
 */
#include "replaced.h"

#define FOLDER L"\\??\\unix\\sys\\bus\\pci\\devices\\"
#define LONGEST_PATH 128
#define SHOWN_CONFIGURATION 64
#define GRANULARITY 0x10000   /* of the offset of a view */
#define BARS 6
#define POOL_TAG 0x6962614CUL         /* Labi */
#define LARGEST_LISTING 2048  /* `resource` has up to 17 lines of 57 characters */

/* Appends a text to a path and returns its new length. */
static ULONG Append(WCHAR *path, ULONG length, const WCHAR *text)
{
    while (*text != 0 && length + 1 < LONGEST_PATH)
        path[length++] = *text++;
    path[length] = 0;
    return length;
}

static ULONG AppendHex(WCHAR *path, ULONG length, ULONG value, ULONG digits)
{
    WCHAR text[9];
    ULONG index;

    for (index = 0; index < digits; index++)
        text[index] = L"0123456789abcdef"[(value >> (4 * (digits - 1 - index))) & 15];
    text[digits] = 0;
    return Append(path, length, text);
}

static NTSTATUS OpenUnixFile(const WCHAR *path, ACCESS_MASK access, HANDLE *file)
{
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK io;
    UNICODE_STRING name;

    RtlInitUnicodeString(&name, path);
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE, NULL, NULL);
    return ZwCreateFile(file, access | SYNCHRONIZE, &attributes, &io, NULL, 0,
                        FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0);
}

/* A device as Linux names it: 0000:00:04.0. Slots are numbered as in PCI_SLOT_NUMBER. */
static ULONG AppendAddress(WCHAR *path, ULONG length, ULONG bus, ULONG slot)
{
    length = Append(path, length, L"0000:");
    length = AppendHex(path, length, bus, 2);
    length = Append(path, length, L":");
    length = AppendHex(path, length, slot & 31, 2);
    length = Append(path, length, L".");
    return AppendHex(path, length, (slot >> 5) & 7, 1);
}

/* Opens a file of the device at an address. */
static NTSTATUS OpenPciFile(ULONG bus, ULONG slot, const WCHAR *name, ACCESS_MASK access, HANDLE *file)
{
    WCHAR path[LONGEST_PATH];
    ULONG length = Append(path, 0, FOLDER);

    length = AppendAddress(path, length, bus, slot);
    length = Append(path, length, L"\\");
    Append(path, length, name);
    return OpenUnixFile(path, access, file);
}

/* The file whose reads return at interrupts of the device at an address; the boot script has made it for devices of its own. */
NTSTATUS OpenUioFile(ULONG bus, ULONG slot, HANDLE *file)
{
    WCHAR path[LONGEST_PATH];
    ULONG length = Append(path, 0, L"\\??\\unix\\run\\lab\\uio-");

    AppendAddress(path, length, bus, slot);
    return OpenUnixFile(path, FILE_READ_DATA, file);
}

ULONG ConfigurationSpace(ULONG bus, ULONG slot, PVOID buffer, ULONG offset, ULONG length, BOOLEAN write)
{
    LARGE_INTEGER at;
    IO_STATUS_BLOCK io;
    NTSTATUS status;
    HANDLE file;

    status = OpenPciFile(bus, slot, L"config", write ? FILE_READ_DATA | FILE_WRITE_DATA : FILE_READ_DATA, &file);
    if (!NT_SUCCESS(status)) {
        if (write && status == STATUS_ACCESS_DENIED)
            SayLacking("hal.dll", "HalSetBusDataByOffset");  /* a device that Linux drives itself */
        if (write || bus != 0 || length < sizeof(USHORT) || offset != 0)
            return 0;
        *(USHORT *)buffer = 0xFFFF;  /* PCI_INVALID_VENDOR_ID: the bus is there, and nothing in this slot */
        return sizeof(USHORT);
    }
    if (offset + length > SHOWN_CONFIGURATION)
        SayLacking("hal.dll", write ? "HalSetBusDataByOffset" : "HalGetBusDataByOffset");
    at.QuadPart = offset;
    if (write)
        status = ZwWriteFile(file, NULL, NULL, NULL, &io, buffer, length, &at, NULL);
    else
        status = ZwReadFile(file, NULL, NULL, NULL, &io, buffer, length, &at, NULL);
    ZwClose(file);
    return NT_SUCCESS(status) ? (ULONG)io.Information : 0;
}

static ULONG NTAPI LabGetBusDataByOffset(ULONG type, ULONG bus, ULONG slot, PVOID buffer, ULONG offset, ULONG length)
{
    return type == PCIConfiguration ? ConfigurationSpace(bus, slot, buffer, offset, length, FALSE) : 0;
}

static ULONG NTAPI LabGetBusData(ULONG type, ULONG bus, ULONG slot, PVOID buffer, ULONG length)
{
    /* Drivers ask for all of PCI_COMMON_CONFIG, and for its first 64 bytes as often. */
    if (length > SHOWN_CONFIGURATION && length <= 256)
        length = SHOWN_CONFIGURATION;
    return LabGetBusDataByOffset(type, bus, slot, buffer, 0, length);
}

static ULONG NTAPI LabSetBusDataByOffset(ULONG type, ULONG bus, ULONG slot, PVOID buffer, ULONG offset, ULONG length)
{
    return type == PCIConfiguration ? ConfigurationSpace(bus, slot, buffer, offset, length, TRUE) : 0;
}

static ULONG NTAPI LabSetBusData(ULONG type, ULONG bus, ULONG slot, PVOID buffer, ULONG length)
{
    return LabSetBusDataByOffset(type, bus, slot, buffer, 0, length);
}

/* On a PC, a device's addresses on its bus are the processor's. */
static BOOLEAN NTAPI LabTranslateBusAddress(INTERFACE_TYPE type, ULONG bus, PHYSICAL_ADDRESS address, PULONG space,
                                            PPHYSICAL_ADDRESS translated)
{
    UNREFERENCED_PARAMETER(type);
    UNREFERENCED_PARAMETER(bus);
    UNREFERENCED_PARAMETER(space);
    *translated = address;
    return TRUE;
}

/* The next number of `resource`, in which each line has the first and the last address and the flags of a region. */
static const CHAR *NextNumber(const CHAR *text, const CHAR *end, ULONG64 *value)
{
    while (text < end && (*text == ' ' || *text == '\n'))
        text++;
    if (text + 2 > end || text[0] != '0' || text[1] != 'x')
        return NULL;
    *value = 0;
    for (text += 2; text < end && *text != ' ' && *text != '\n'; text++)
        *value = (*value << 4) | (ULONG64)(*text <= '9' ? *text - '0' : *text - 'a' + 10);
    return text;
}

/* The number of the device's region that holds an address, or BARS. */
static ULONG FindRegion(ULONG bus, ULONG slot, ULONG64 address, CHAR *listing, ULONG64 *first)
{
    IO_STATUS_BLOCK io;
    LARGE_INTEGER at;
    const CHAR *text;
    NTSTATUS status;
    HANDLE file;
    ULONG bar;

    if (!NT_SUCCESS(OpenPciFile(bus, slot, L"resource", FILE_READ_DATA, &file)))
        return BARS;
    at.QuadPart = 0;
    status = ZwReadFile(file, NULL, NULL, NULL, &io, listing, LARGEST_LISTING, &at, NULL);
    ZwClose(file);
    text = listing;
    for (bar = 0; NT_SUCCESS(status) && bar < BARS; bar++) {
        const CHAR *end = listing + io.Information;
        ULONG64 last, flags;

        if ((text = NextNumber(text, end, first)) == NULL || (text = NextNumber(text, end, &last)) == NULL
            || (text = NextNumber(text, end, &flags)) == NULL)
            break;
        if (*first != 0 && *first <= address && address <= last)
            return bar;
    }
    return BARS;
}

static PVOID MapRegion(ULONG bus, ULONG slot, ULONG bar, ULONG64 offset, SIZE_T length)
{
    WCHAR name[] = L"resource0";
    ULONG64 before = offset & (GRANULARITY - 1);
    SIZE_T size = length + before;
    PVOID view = NULL;
    LARGE_INTEGER at;
    HANDLE file, section;
    NTSTATUS status;

    name[8] = (WCHAR)(L'0' + bar);
    status = OpenPciFile(bus, slot, name, FILE_READ_DATA | FILE_WRITE_DATA, &file);
    if (!NT_SUCCESS(status))
        return NULL;
    status = ZwCreateSection(&section, SECTION_MAP_READ | SECTION_MAP_WRITE, NULL, NULL, PAGE_READWRITE, SEC_COMMIT, file);
    ZwClose(file);
    if (!NT_SUCCESS(status))
        return NULL;
    at.QuadPart = (LONG64)(offset - before);
    status = ZwMapViewOfSection(section, (HANDLE)-1, &view, 0, 0, &at, &size, ViewUnmap, 0, PAGE_READWRITE);
    ZwClose(section);
    return NT_SUCCESS(status) ? (UCHAR *)view + before : NULL;
}

/* Whether a bus is there. They are numbered without a gap, in the order in which the firmware found them. */
static BOOLEAN BusExists(ULONG bus)
{
    WCHAR path[LONGEST_PATH];
    ULONG length = Append(path, 0, L"\\??\\unix\\sys\\class\\pci_bus\\0000:");
    HANDLE file;

    AppendHex(path, length, bus, 2);
    if (!NT_SUCCESS(OpenUnixFile(path, FILE_READ_ATTRIBUTES, &file)))
        return FALSE;
    ZwClose(file);
    return TRUE;
}

VOID ForEachPciDevice(BOOLEAN (*visit)(ULONG bus, ULONG slot, PVOID context), PVOID context)
{
    ULONG bus, device, function;
    HANDLE file;

    for (bus = 0; bus < 256 && (bus == 0 || BusExists(bus)); bus++) {
        for (device = 0; device < 32; device++) {
            for (function = 0; function < 8; function++) {
                ULONG slot = device | function << 5;

                if (!NT_SUCCESS(OpenPciFile(bus, slot, L"resource", FILE_READ_DATA, &file))) {
                    if (function == 0)
                        break;  /* a device has a function 0, or is not there */
                    continue;
                }
                ZwClose(file);
                if (!visit(bus, slot, context))
                    return;
            }
        }
    }
}

typedef struct _MAPPING {
    ULONG64 address;
    SIZE_T length;
    PVOID mapped;
    CHAR listing[LARGEST_LISTING];
} MAPPING;

static BOOLEAN MapIfThere(ULONG bus, ULONG slot, PVOID context)
{
    MAPPING *wanted = (MAPPING *)context;
    ULONG64 first;
    ULONG bar = FindRegion(bus, slot, wanted->address, wanted->listing, &first);

    if (bar == BARS)
        return TRUE;
    wanted->mapped = MapRegion(bus, slot, bar, wanted->address - first, wanted->length);
    return FALSE;
}

static PVOID NTAPI LabMapIoSpace(PHYSICAL_ADDRESS address, SIZE_T length, ULONG caching)
{
    MAPPING *wanted = ExAllocatePoolWithTag(NonPagedPool, sizeof(*wanted), POOL_TAG);
    PVOID mapped;

    UNREFERENCED_PARAMETER(caching);  /* an emulated device has no cache in front of it */
    if (wanted == NULL)
        return NULL;
    wanted->address = (ULONG64)address.QuadPart;
    wanted->length = length;
    wanted->mapped = NULL;
    ForEachPciDevice(MapIfThere, wanted);
    mapped = wanted->mapped;
    ExFreePoolWithTag(wanted, POOL_TAG);
    if (mapped == NULL)
        SayLacking("ntoskrnl.exe", "MmMapIoSpace");
    return mapped;
}

/* Wine's gives the virtual address back. A device that gets it would write somewhere into the guest's memory. */
static ULONG64 NTAPI LabGetPhysicalAddress(PVOID address)
{
    UNREFERENCED_PARAMETER(address);
    SayLacking("ntoskrnl.exe", "MmGetPhysicalAddress");
    return 0;
}

static VOID NTAPI LabUnmapIoSpace(PVOID mapped, SIZE_T length)
{
    UNREFERENCED_PARAMETER(length);
    ZwUnmapViewOfSection((HANDLE)-1, mapped);
}

const REPLACEMENT PciReplacements[] = {
    { L"MmMapIoSpace", (PVOID)LabMapIoSpace },
    { L"MmUnmapIoSpace", (PVOID)LabUnmapIoSpace },
    { L"MmGetPhysicalAddress", (PVOID)LabGetPhysicalAddress },
};
const ULONG PciReplacementCount = RTL_NUMBER_OF(PciReplacements);

const REPLACEMENT HalReplacements[] = {
    { L"HalGetBusData", (PVOID)LabGetBusData },
    { L"HalGetBusDataByOffset", (PVOID)LabGetBusDataByOffset },
    { L"HalSetBusData", (PVOID)LabSetBusData },
    { L"HalSetBusDataByOffset", (PVOID)LabSetBusDataByOffset },
    { L"HalTranslateBusAddress", (PVOID)LabTranslateBusAddress },
    { L"HalGetInterruptVector", (PVOID)LabGetInterruptVector },
};
const ULONG HalReplacementCount = RTL_NUMBER_OF(HalReplacements);
