/* A UEFI program in the place of Windows' loader: counts its starts in a variable that lasts, tells the count on COM1, and
 * powers off. The structures are those of the UEFI specification, version 2.10, as far as they are used. */

typedef unsigned long long u64;
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;

#define EFIAPI __attribute__((ms_abi))
#define NON_VOLATILE 1u
#define BOOTSERVICE_ACCESS 2u
#define RUNTIME_ACCESS 4u
#define RESET_SHUTDOWN 2
#define COM1 0x3f8

typedef struct {
    u32 a;
    u16 b, c;
    u8 d[8];
} guid;

typedef struct {
    u64 signature;
    u32 revision, size, crc, reserved;
} header;

typedef struct {
    header hdr;
    void *time[4];
    void *memory[2];
    u64(EFIAPI *get_variable)(u16 *name, guid *vendor, u32 *attributes, u64 *size, void *data);
    void *get_next;
    u64(EFIAPI *set_variable)(u16 *name, guid *vendor, u32 attributes, u64 size, void *data);
    void *get_count;
    void(EFIAPI *reset)(int type, u64 status, u64 size, void *data);
} runtime_services;

typedef struct {
    header hdr;
    u16 *vendor;
    u32 revision;
    void *console[6];
    runtime_services *runtime;
} system_table;

static void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }

static u8 in8(u16 port)
{
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void say(const char *text)
{
    for (; *text; text++) {
        while (!(in8(COM1 + 5) & 0x20)) {
        }
        out8(COM1, (u8)*text);
    }
}

EFIAPI u64 efi_main(void *image, system_table *system)
{
    static guid vendor = {0x1ab7e57d, 0x1a8, 0x4c0d, {0x8e, 1, 2, 3, 4, 5, 6, 7}};
    static u16 name[] = {'L', 'a', 'b', 'S', 't', 'a', 'r', 't', 's', 0};
    char digit[2] = {0, 0};
    u8 count = 0;
    u64 size = sizeof count;
    (void)image;
    if (system->runtime->get_variable(name, &vendor, 0, &size, &count)) {
        count = 0;
    }
    count++;
    if (system->runtime->set_variable(name, &vendor, NON_VOLATILE | BOOTSERVICE_ACCESS | RUNTIME_ACCESS, sizeof count, &count)) {
        say("\r\nthe variable cannot be written\r\n");
    }
    digit[0] = (char)('0' + count);
    say("\r\nthe UEFI stand-in is up: ");
    say(digit);
    say("\r\n");
    system->runtime->reset(RESET_SHUTDOWN, 0, 0, 0);
    return 0;
}
