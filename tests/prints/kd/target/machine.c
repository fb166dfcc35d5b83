/* machine.c - serial ports and power of a PC, polled, without interrupts. */
#include "target.h"

#define LINE_STATUS 5
#define DATA_READY 0x01
#define ROOM_TO_SEND 0x20

static inline void Out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void Out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t In8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

void SerialOpen(uint16_t port, int fifo)
{
    Out8(port + 1, 0x00); /* no interrupts */
    Out8(port + 3, 0x80); /* divisor */
    Out8(port + 0, 0x01); /* 115200 baud */
    Out8(port + 1, 0x00);
    Out8(port + 3, 0x03); /* 8 bits, no parity, one stop bit */
    Out8(port + 2, fifo ? 0x01 : 0x00);
    Out8(port + 4, 0x03);
}

/* Waits for ever, as a kernel does: a host that does not read stops the target here. */
void SerialPut(uint16_t port, uint8_t byte)
{
    while (!(In8(port + LINE_STATUS) & ROOM_TO_SEND)) {
    }
    Out8(port, byte);
}

int SerialGet(uint16_t port, uint32_t polls, uint8_t *byte)
{
    while (polls--) {
        if (In8(port + LINE_STATUS) & DATA_READY) {
            *byte = In8(port);
            return 1;
        }
    }
    return 0;
}

/* ICH9 power management, where QEMU's firmware puts it on a q35. */
_Noreturn void PowerOff(void)
{
    Out16(0x604, 0x2000);
    for (;;) {
        __asm__ volatile("hlt");
    }
}

_Noreturn void Reboot(void)
{
    Out8(0xCF9, 0x06);
    for (;;) {
        __asm__ volatile("hlt");
    }
}

void *memcpy(void *to, const void *from, size_t count)
{
    void *begin = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    return begin;
}

void *memset(void *to, int value, size_t count)
{
    void *begin = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
    return begin;
}
