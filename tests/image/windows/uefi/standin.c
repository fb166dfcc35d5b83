/* A stand-in for Windows Setup, for UEFI firmware: on the wire it behaves as Setup does.
 *
 * Started from the CD it asks for a key, writes to the disk what DISK.DAT of the CD says, and restarts. Started from the disk it
 * goes through three phases, each with a restart, says that it is done, and powers off; started once more, it is a finished guest:
 * it counts its starts in a variable that lasts, tells the count, and powers off at a key; at the key c it counts once more
 * instead. How far it is stands in a variable, too: it is lost when the firmware's variables are, as a Windows boot entry would be.
 *
 * The structures are those of the UEFI specification, version 2.10, as far as they are used. */

typedef unsigned long long u64;
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;

#define EFIAPI __attribute__((ms_abi))
#define LASTING 7u /* non-volatile, seen by boot and run-time services */
#define RESET_COLD 0
#define RESET_SHUTDOWN 2
#define BY_PROTOCOL 2
#define READ_ONLY 1
#define COM1 0x3f8
#define SECTOR 512u
#define KEY_TENTHS 50

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
    u16 scan, character;
} key;

typedef struct text_input {
    void *reset;
    u64(EFIAPI *read_key)(struct text_input *self, key *pressed);
} text_input;

typedef struct text_output {
    void *reset;
    u64(EFIAPI *write)(struct text_output *self, u16 *text);
} text_output;

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
    void *priority[2];
    void *pages[3];
    u64(EFIAPI *allocate)(int type, u64 size, void **memory);
    void *free;
    void *events[6];
    void *protocols[3];
    u64(EFIAPI *handle_protocol)(void *handle, guid *protocol, void **interface);
    void *reserved;
    void *notify;
    u64(EFIAPI *locate_handle)(int how, guid *protocol, void *key, u64 *size, void **handles);
    void *locate_path, *configuration;
    void *images[5];
    void *count;
    u64(EFIAPI *stall)(u64 microseconds);
} boot_services;

typedef struct {
    header hdr;
    u16 *vendor;
    u32 revision;
    void *in_handle;
    text_input *in;
    void *out_handle;
    text_output *out;
    void *error_handle, *error;
    runtime_services *runtime;
    boot_services *boot;
} system_table;

typedef struct {
    u32 revision;
    void *parent, *system, *device;
} loaded_image;

typedef struct {
    u32 id;
    u8 removable, present, partition, read_only, caching;
    u32 block_size, align;
    u64 last;
} medium;

typedef struct block_io {
    u64 revision;
    medium *media;
    void *reset, *read;
    u64(EFIAPI *write)(struct block_io *self, u32 id, u64 block, u64 size, void *data);
    u64(EFIAPI *flush)(struct block_io *self);
} block_io;

typedef struct file {
    u64 revision;
    u64(EFIAPI *open)(struct file *self, struct file **opened, u16 *name, u64 mode, u64 attributes);
    void *close, *erase;
    u64(EFIAPI *read)(struct file *self, u64 *size, void *data);
} file;

typedef struct volume {
    u64 revision;
    u64(EFIAPI *open)(struct volume *self, file **root);
} volume;

static guid image_protocol = {0x5b1b31a1, 0x9562, 0x11d2, {0x8e, 0x3f, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static guid block_protocol = {0x964e5b21, 0x6459, 0x11d2, {0x8e, 0x39, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static guid volume_protocol = {0x964e5b22, 0x6459, 0x11d2, {0x8e, 0x39, 0, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static guid vendor = {0x1ab7e57d, 0x1a8, 0x4c0d, {0x8e, 1, 2, 3, 4, 5, 6, 7}};
static u16 phase_name[] = {'L', 'a', 'b', 'P', 'h', 'a', 's', 'e', 0};
static u16 count_name[] = {'L', 'a', 'b', 'S', 't', 'a', 'r', 't', 's', 0};
static system_table *table;

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

static void halt(const char *why)
{
    say(why);
    for (;;) {
        __asm__ volatile("hlt");
    }
}

static u8 recall(u16 *name)
{
    u8 value = 0;
    u64 size = sizeof value;
    return table->runtime->get_variable(name, &vendor, 0, &size, &value) ? 0 : value;
}

static void remember(u16 *name, u8 value)
{
    if (table->runtime->set_variable(name, &vendor, LASTING, sizeof value, &value)) {
        halt("LAB firmware failed a variable cannot be written\r\n");
    }
}

/* Wait for a key, and return its character; 0 tenths: for ever. 0 where none came, 1 where it has no character. */
static u16 pressed(u32 tenths)
{
    key any;
    for (u32 tenth = 0; !tenths || tenth < tenths; tenth++) {
        if (!table->in->read_key(table->in, &any)) {
            return any.character ? any.character : 1;
        }
        table->boot->stall(100000);
    }
    return 0;
}

static block_io *hard_disk(void)
{
    static void *handles[64];
    u64 size = sizeof handles;
    block_io *found;
    if (table->boot->locate_handle(BY_PROTOCOL, &block_protocol, 0, &size, handles)) {
        return 0;
    }
    for (u64 number = 0; number < size / sizeof handles[0]; number++) {
        if (!table->boot->handle_protocol(handles[number], &block_protocol, (void **)&found) && found->media->present &&
            !found->media->partition && !found->media->read_only && found->media->block_size == SECTOR) {
            return found;
        }
    }
    return 0;
}

/* DISK.DAT: for each sector its number in 8 bytes, then its content. */
static void install(void *device)
{
    static u16 name[] = {'D', 'I', 'S', 'K', '.', 'D', 'A', 'T', 0};
    static u8 record[8 + SECTOR];
    static u8 sector[SECTOR] __attribute__((aligned(4096)));
    block_io *disk = hard_disk();
    volume *cd;
    file *root, *data;
    if (!disk) {
        halt("LAB winpe failed there is no disk\r\n");
    }
    if (table->boot->handle_protocol(device, &volume_protocol, (void **)&cd) || cd->open(cd, &root) ||
        root->open(root, &data, name, READ_ONLY, 0)) {
        halt("LAB winpe failed the CD cannot be read\r\n");
    }
    for (;;) {
        u64 size = sizeof record;
        if (data->read(data, &size, record) || (size && size != sizeof record)) {
            halt("LAB winpe failed DISK.DAT is damaged\r\n");
        }
        if (!size) {
            break;
        }
        for (u32 at = 0; at < SECTOR; at++) {
            sector[at] = record[8 + at];
        }
        if (disk->write(disk, disk->media->id, *(u64 *)record, SECTOR, sector)) {
            halt("LAB winpe failed the disk cannot be written\r\n");
        }
    }
    disk->flush(disk);
}

static void begin(void *device)
{
    static u16 prompt[] = {'P', 'r', 'e', 's', 's', ' ', 'a', 'n', 'y', ' ', 'k', 'e', 'y', '.', '.', '.', 0};
    /* Through the firmware, as Windows' own CD does it: it reaches COM1 only because the firmware's console is there, too. */
    table->out->write(table->out, prompt);
    if (!pressed(KEY_TENTHS)) {
        halt("\r\nno key was pressed\r\n");
    }
    say("\r\nLAB winpe start\r\n");
    install(device);
    remember(phase_name, 1);
    say("LAB winpe ok\r\n");
    table->runtime->reset(RESET_COLD, 0, 0, 0);
}

static void finished_guest(void)
{
    char digit[2] = {0, 0};
    do {
        u8 count = (u8)(recall(count_name) + 1);
        remember(count_name, count);
        digit[0] = (char)('0' + count);
        say("\r\nthe UEFI stand-in is up: ");
        say(digit);
        say("\r\n");
    } while (pressed(0) == 'c');
    table->runtime->reset(RESET_SHUTDOWN, 0, 0, 0);
}

EFIAPI u64 efi_main(void *image, system_table *system)
{
    static const char *const starts[] = {"LAB specialize start\r\n", "LAB oobe start\r\n", "LAB provision start\r\n"};
    static const char *const ends[] = {"LAB specialize ok\r\n", "LAB oobe ok\r\n", "LAB done ok\r\n"};
    loaded_image *self;
    block_io *from;
    table = system;
    if (system->boot->handle_protocol(image, &image_protocol, (void **)&self) ||
        system->boot->handle_protocol(self->device, &block_protocol, (void **)&from)) {
        halt("LAB firmware failed it does not say where it started from\r\n");
    }
    u8 phase = recall(phase_name);
    if (from->media->read_only) {
        if (phase) {
            halt("LAB restart failed it went to the CD once more\r\n");
        }
        begin(self->device);
    }
    if (phase < 1 || phase > 3) {
        finished_guest();
    }
    say("\r\n");
    say(starts[phase - 1]);
    say(ends[phase - 1]);
    remember(phase_name, (u8)(phase + 1));
    system->runtime->reset(phase == 3 ? RESET_SHUTDOWN : RESET_COLD, 0, 0, 0);
    return 0;
}
