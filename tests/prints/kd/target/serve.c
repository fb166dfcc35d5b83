/*
 * serve.c - a kernel whose drivers are a model on the host: it does what COM3 says, one command a line.
 *
 * A command is a letter, arguments in hexadecimal, a dot and a newline; a line without its dot was cut by a snapshot, and is
 * dropped. Each command is answered by a line when it is done.
 */
#include "target.h"

#define COM3 0x3E8

enum { LINE_SIZE = 8192, TEXT_SIZE = 4000 };

static char line[LINE_SIZE];
static uint8_t bytes[TEXT_SIZE];
static uint8_t memory[TEXT_SIZE]; /* what the model keeps in the guest: its services */
static uint32_t remembered;

static void Answer(const char *text)
{
    while (*text) {
        SerialPut(COM3, (uint8_t)*text++);
    }
    SerialPut(COM3, '\n');
}

/* The next whole command; while there is none, a break-in is served as by any running kernel. */
static uint32_t NextCommand(void)
{
    uint32_t used = 0;
    for (;;) {
        uint8_t byte;
        if (!SerialGet(COM3, 64, &byte)) {
            Tick(1);
            ServeBreakIn();
        } else if (byte != '\n') {
            line[used < LINE_SIZE - 1 ? used++ : used] = (char)byte;
        } else if (used && line[used - 1] == '.') {
            line[used - 1] = 0;
            return used - 1;
        } else {
            used = 0;
        }
    }
}

static uint32_t Digit(char digit)
{
    return (uint32_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

static uint32_t Number(const char *at)
{
    uint32_t value = 0;
    for (int i = 0; i < 8; i++) {
        value = value << 4 | Digit(at[i]);
    }
    return value;
}

/* The bytes of a text in hexadecimal, with a zero behind them; returns how many. */
static uint32_t Bytes(const char *at)
{
    uint32_t count = 0;
    for (; at[0] && at[1] && count + 1 < TEXT_SIZE; at += 2) {
        bytes[count++] = (uint8_t)(Digit(at[0]) << 4 | Digit(at[1]));
    }
    bytes[count] = 0;
    return count;
}

static void Remembered(void)
{
    SerialPut(COM3, 'f');
    for (uint32_t i = 0; i < remembered; i++) {
        SerialPut(COM3, (uint8_t)"0123456789abcdef"[memory[i] >> 4]);
        SerialPut(COM3, (uint8_t)"0123456789abcdef"[memory[i] & 15]);
    }
    SerialPut(COM3, '\n');
}

/* The images of the model's boot; then its commands, for ever. */
void ServeModel(void)
{
    SerialOpen(COM3, 0);
    Print(0, "a print of the boot\n");
    LoadSymbols("\\SystemRoot\\system32\\ntoskrnl.exe", 0x80400000, 0x100000, 0);
    LoadSymbols("\\SystemRoot\\system32\\hal.dll", 0x80600000, 0x100000, 0);
    for (;;) {
        uint32_t used = NextCommand();
        const char *rest = line + (used ? 1 : 0);
        switch (line[0]) {
        case 'p':
            Bytes(rest);
            Answer(Print(0, (const char *)bytes) ? "ok" : "lost");
            break;
        case 'l':
        case 'u':
            Bytes(rest + 16);
            LoadSymbols((const char *)bytes, Number(rest), Number(rest + 8), line[0] == 'u');
            Answer("ok");
            break;
        case 'b':
            Breakpoint(0x80412345, 1, 0);
            Answer("ok");
            break;
        case 'k':
            Breakpoint(0x80434567, 3, 0);
            Breakpoint(0x80434567, 4, 1);
            break;
        case 'g':
            LinkStart();
            Answer("ok");
            break;
        case 's':
            remembered = Bytes(rest);
            memcpy(memory, bytes, remembered);
            Answer("ok");
            break;
        case 'f':
            Remembered();
            break;
        case 'y':
            Answer(line);
            break;
        default:
            Report("no such command");
        }
    }
}
