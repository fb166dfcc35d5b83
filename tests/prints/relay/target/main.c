/*
 * main.c - writes the print relay's records to port 0xE9 without any system, with the driver's own encoder and lock.
 *
 * By its command line: count (prints of each processor), length (of a text at least), processors (that really run, each
 * of which writes its own), lock (0: without the writer's lock, to see what that would give), noise (1: bytes of
 * somebody else between the records), lose (so many prints are given up) and at (before this print), again (1: the
 * machine is reset in the middle of a record and everything is done once more).
 */
#include "target.h"

#include "platform.h"
#include "writer.h"

#define MULTIBOOT_MAGIC 0x2BADB002
#define COMMAND_LINE_PRESENT 0x04

#define CONSOLE_PORT 0xE9
#define TRAMPOLINE 0x8000
/* Neither the firmware nor the loader writes here, and a reset leaves memory alone. */
#define RESET_FLAG (*(volatile uint32_t *)0x01000000)
#define RESET_DONE 0x600DB007u

#define LOCAL_APIC 0xFEE00000u
#define APIC_ID (*(volatile uint32_t *)(LOCAL_APIC + 0x20))
#define APIC_SPURIOUS (*(volatile uint32_t *)(LOCAL_APIC + 0xF0))
#define APIC_COMMAND (*(volatile uint32_t *)(LOCAL_APIC + 0x300))
#define INIT_OTHERS 0x000C4500u
#define START_OTHERS (0x000C4600u | TRAMPOLINE >> 12)

extern const uint8_t TrampolineBegin[], TrampolineEnd[];

static RELAY_WRITER writer;
static volatile uint32_t ready, go, finished;
static uint32_t count, least, processors, locked;

void ProcessorMain(void);

static uint64_t Ticks(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

/* QEMU's emulated time-stamp counter has 1 GHz: 128 ns is near enough to 100. */
unsigned long long RelayTime(void)
{
    return Ticks() >> 7;
}

unsigned int RelayProcessor(void)
{
    return APIC_ID >> 24;
}

void RelayOut(const unsigned char *bytes, unsigned int size)
{
    __asm__ volatile("rep outsb" : "+S"(bytes), "+c"(size) : "d"((uint16_t)CONSOLE_PORT) : "memory");
}

unsigned long RelayInterruptsOff(void)
{
    return 0; /* nobody has ever switched them on */
}

void RelayInterruptsBack(unsigned long before)
{
    (void)before;
}

void RelayPause(void)
{
    __asm__ volatile("pause");
}

static void Say(const char *text)
{
    RelayOut((const unsigned char *)text, (unsigned int)Length(text));
}

/* What another program on the port would write; the magic and half a header among it. */
static void Noise(uint32_t number)
{
    if (number % 3 == 0) {
        Say("somebody else's line\n");
    } else if (number % 3 == 1) {
        Say("\xFETAP\x01\x01\xFETA");
    } else {
        Say("\xFE");
    }
}

/* A writer that does not wait for the others. */
static void WriteUnlocked(const char *text, uint32_t length)
{
    unsigned char header[RELAY_HEADER_SIZE];
    RELAY_RECORD record = {.kind = RELAY_PRINT, .session = writer.session, .length = (unsigned short)length};

    record.sequence = __atomic_fetch_add(&writer.sequence, 1, __ATOMIC_SEQ_CST);
    record.cpu = (unsigned short)RelayProcessor();
    record.text_check = RelayCheck((const unsigned char *)text, length);
    RelayEncode(&record, header);
    RelayOut(header, sizeof(header));
    RelayOut((const unsigned char *)text, length);
}

static void Flood(uint32_t processor)
{
    char line[1024];
    uint32_t noise = Option("noise", 0), lose = Option("lose", 0), at = Option("at", 0);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t used = (uint32_t)Format(line, sizeof(line), "cpu %u line %08u", processor, i);
        while (used + 1 < least && used + 2 < sizeof(line)) {
            line[used++] = '.';
        }
        line[used++] = '\n';
        if (noise) {
            Noise(i);
        }
        if (lose && i == at) {
            /* As prints do that come in the middle of their own processor's record. */
            __atomic_add_fetch(&writer.lost, (long)lose, __ATOMIC_SEQ_CST);
        }
        if (locked) {
            while (!RelayWrite(&writer, RELAY_PRINT, 77, 3, line, used)) {
            }
        } else {
            WriteUnlocked(line, used);
        }
    }
}

void ProcessorMain(void)
{
    __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
    while (!go) {
        RelayPause();
    }
    Flood(RelayProcessor());
    __atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
}

static void Wait(uint64_t ticks)
{
    uint64_t begin = Ticks();

    while (Ticks() - begin < ticks) {
        RelayPause();
    }
}

static void StartOthers(void)
{
    memcpy((void *)TRAMPOLINE, TrampolineBegin, (size_t)(TrampolineEnd - TrampolineBegin));
    APIC_SPURIOUS |= 0x100;
    APIC_COMMAND = INIT_OTHERS;
    Wait(10000000);
    APIC_COMMAND = START_OTHERS;
    while (ready < processors - 1) {
        RelayPause();
    }
}

void Main(uint32_t magic, const uint32_t *information)
{
    int told = magic == MULTIBOOT_MAGIC && (information[0] & COMMAND_LINE_PRESENT);

    OptionsAre(told ? (const char *)information[4] : "");
    SerialOpen(COM2, 0);
    count = Option("count", 1000);
    least = Option("length", 0);
    processors = Option("processors", 1);
    locked = Option("lock", 1);
    RelayStart(&writer, (unsigned int)Ticks() | 1);
    RelayWrite(&writer, RELAY_HELLO, 0, 0, "bare metal", 10);
    if (processors > 1) {
        StartOthers();
    }
    RelayWrite(&writer, RELAY_MARK, 0, 0, "begin", 5);
    Report("begin");
    go = 1;
    Flood(RelayProcessor());
    while (finished < processors - 1) {
        RelayPause();
    }
    RelayWrite(&writer, RELAY_MARK, 0, 0, "end", 3);
    Report("end records=%u", writer.sequence);
    if (Option("again", 0) && RESET_FLAG != RESET_DONE) {
        unsigned char header[RELAY_HEADER_SIZE];
        RELAY_RECORD half = {.kind = RELAY_PRINT, .session = writer.session, .sequence = writer.sequence, .length = 100};

        RelayEncode(&half, header);
        RelayOut(header, sizeof(header));
        Say("these words are not all of i");
        RESET_FLAG = RESET_DONE;
        Reboot();
    }
    PowerOff();
}
