/*
 * serve.c - the stand-in for a kernel as a guest: does what it is told on COM3, and stands still in between. Only x64.
 *
 * An order is a verb, the length of its data (u16) and the data; the answer is the verb and a number (u32). Little-endian:
 *
 *   P  component (u32), level (u32), text   one print; 0
 *   F  count (u32), length (u16)            so many prints "flood NUMBER", filled up to that length; how many there were so far
 *   L  count (u32)                          the next print loses so many others; 0
 *   M  token                                a marker; the status of the request
 *   R  length (u16)                         from now on it prints "restless NUMBER" whenever it has no order, filled up to that
 *                                           length; 0: no more. How many there were so far
 *   T                                       the number of orders so far, this one included
 *   H                                       0, and nothing is answered any more
 *   E                                       0, and the driver is unloaded and the machine switched off
 *
 * A byte from 0x80 on is a ping, without a length: it is answered with itself and the number of orders so far. A byte that comes
 * before the port is open may be lost, so the host begins with pings.
 *
 * By the command line: restless (as R). Without prints of its own the processor halts until a byte comes, so that a guest that
 * waits takes no time of the host, and can be seen to be idle.
 */
#include "kernel.h"
#include "target.h"

#define CONTROL 0x3E8 /* COM3, which has interrupt 4 */
#define FIRST_PING 0x80
#define DATA_MAX 4104
#define TEXT_MAX 4096
#define COMPONENT 77
#define LEVEL 3

#define CONTROLLER 0x20
#define FIRST_VECTOR 0x20
#define VECTORS 0x30
#define ONLY_INTERRUPT_4 0xEF
#define CODE_SEGMENT 0x08
#define INTERRUPT_GATE 0x8E00

#define POWER_TIMER 0x608 /* where QEMU's firmware puts it on a q35; 24 bits */
#define POWER_TIMER_HZ 3579545

static uint64_t descriptors[2 * VECTORS];
static uint64_t ticks_per_second;
static uint32_t orders, flooded, restless_prints, restless;

/* Only wakes the processor: the byte is taken by whoever waits for it. */
__asm__(".text\n"
        ".globl Interrupted\n"
        "Interrupted:\n"
        "    pushq %rax\n"
        "    movb $0x20, %al\n"
        "    outb %al, $0x20\n"
        "    popq %rax\n"
        "    iretq\n");
extern const uint8_t Interrupted[];

static inline void Out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t In8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline uint32_t PowerTimer(void)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"((uint16_t)POWER_TIMER));
    return value;
}

static uint64_t Ticks(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

uint64_t ServeTime(void)
{
    uint64_t ticks = Ticks();

    return ticks / ticks_per_second * 10000000u + ticks % ticks_per_second * 10000000u / ticks_per_second;
}

static void StartClock(void)
{
    uint32_t begin = PowerTimer();
    uint64_t ticks = Ticks();

    while (((PowerTimer() - begin) & 0xFFFFFF) < POWER_TIMER_HZ / 100) {
    }
    ticks_per_second = (Ticks() - ticks) * 100;
}

static void StartInterrupts(void)
{
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t base;
    } table = {sizeof(descriptors) - 1, (uintptr_t)descriptors};
    uint64_t routine = (uintptr_t)Interrupted;

    for (uint32_t i = FIRST_VECTOR; i < VECTORS; i++) {
        descriptors[2 * i] = (routine & 0xFFFF) | CODE_SEGMENT << 16 | (uint64_t)INTERRUPT_GATE << 32 | (routine >> 16 & 0xFFFF) << 48;
        descriptors[2 * i + 1] = routine >> 32;
    }
    __asm__ volatile("cli; lidt %0" : : "m"(table));
    Out8(CONTROLLER, 0x11); /* its vectors follow, in three bytes */
    Out8(CONTROLLER + 1, FIRST_VECTOR);
    Out8(CONTROLLER + 1, 0x04);
    Out8(CONTROLLER + 1, 0x01);
    Out8(CONTROLLER + 1, ONLY_INTERRUPT_4);
    SerialOpen(CONTROL, 1);
    In8(CONTROL); /* QEMU 7.2 holds back further bytes until one is read, also if the one that came before was dropped */
    Out8(CONTROL + 4, 0x0B); /* lets the port's interrupt through */
    Out8(CONTROL + 1, 0x01); /* a byte came */
    __asm__ volatile("sti");
}

/* "WORD NUMBER", filled up with dots to the length of the text, whose last byte is a new line. */
static void PrintNumbered(const char *word, uint32_t number, uint32_t length)
{
    static char text[TEXT_MAX];
    uint32_t used = (uint32_t)Format(text, sizeof(text), "%s %08u", word, number);

    length = length > sizeof(text) ? sizeof(text) : length;
    while (used + 1 < length) {
        text[used++] = '.';
    }
    text[used++] = '\n';
    KernelPrint(text, used, COMPONENT, LEVEL);
}

static uint8_t NextByte(int between_orders)
{
    uint8_t byte;

    for (;;) {
        __asm__ volatile("cli");
        if (SerialGet(CONTROL, 1, &byte)) {
            __asm__ volatile("sti");
            return byte;
        }
        if (between_orders && restless) {
            __asm__ volatile("sti");
            PrintNumbered("restless", restless_prints++, restless);
        } else {
            __asm__ volatile("sti; hlt"); /* interrupts are let in after the second of the two: none is missed */
        }
    }
}

static uint32_t Number(const uint8_t *at, uint32_t bytes)
{
    uint32_t value = 0;

    while (bytes--) {
        value = value << 8 | at[bytes];
    }
    return value;
}

static void Answer(uint8_t verb, uint32_t value)
{
    SerialPut(CONTROL, verb);
    for (int i = 0; i < 4; i++, value >>= 8) {
        SerialPut(CONTROL, (uint8_t)value);
    }
}

static uint32_t Do(uint8_t verb, const uint8_t *data, uint32_t length)
{
    switch (verb) {
    case 'P':
        KernelPrint((const char *)data + 8, length - 8, Number(data, 4), Number(data + 4, 4));
        return 0;
    case 'F':
        for (uint32_t i = Number(data, 4); i; i--) {
            PrintNumbered("flood", flooded++, Number(data + 4, 2));
        }
        return flooded;
    case 'L':
        KernelLose(Number(data, 4));
        return 0;
    case 'M':
        return KernelMark((const char *)data, length);
    case 'R':
        restless = Number(data, 2);
        return restless_prints;
    case 'T':
        return orders;
    }
    return 0;
}

void Serve(void)
{
    static uint8_t data[DATA_MAX];

    restless = Option("restless", 0);
    StartClock();
    StartInterrupts();
    for (;;) {
        uint8_t verb = NextByte(1), bytes[2];

        if (verb >= FIRST_PING) {
            Answer(verb, orders);
            continue;
        }
        bytes[0] = NextByte(0);
        bytes[1] = NextByte(0);
        uint32_t length = Number(bytes, 2);
        for (uint32_t i = 0; i < length; i++) {
            uint8_t byte = NextByte(0);
            if (i < sizeof(data)) {
                data[i] = byte;
            }
        }
        orders++;
        Answer(verb, Do(verb, data, length > sizeof(data) ? sizeof(data) : length));
        if (verb == 'E') {
            return;
        }
        if (verb == 'H') {
            for (;;) {
                __asm__ volatile("cli; hlt");
            }
        }
    }
}
