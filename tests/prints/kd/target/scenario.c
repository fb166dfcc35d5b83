/*
 * scenario.c - what the target does, by its command line: "scenario=NAME", and numbers by name.
 *
 * Common: polls (status reads in a wait for a byte), retries, fifo (1: the port's receive FIFO is on).
 */
#include "target.h"

#define MULTIBOOT_MAGIC 0x2BADB002
#define COMMAND_LINE_PRESENT 0x04

#define REFRESH "KDTARGET: Refreshing KD connection\n"
#define DRIVER "\\SystemRoot\\system32\\drivers\\target.sys"
#define BASE 0xF7A40000u
#define SIZE 0x6000u

static void End(void)
{
    Report("end again=%u resends=%u resets=%u break-ins=%u", link.again, link.resends, link.resets, link.break_ins);
    PowerOff();
}

void ServeBreakIn(void)
{
    if (link.broken_in) {
        link.broken_in = 0;
        Report("broken-in");
        Breakpoint(0x80405678, 1, 0);
    }
}

/* What a clock tick of a running kernel does for its debugger: take one byte, and see whether it is a break-in. */
void Tick(uint32_t polls)
{
    uint8_t byte;
    if (SerialGet(COM1, polls, &byte) && byte == 0x62) {
        link.break_ins++;
        link.broken_in = 1;
    }
}

/*
 * "line 00000000" and so on, one print each: count, length (of a line with its newline), cpus (that take turns), rest (status
 * reads between two lines).
 * Where the host is absent, the next lines are not sent at all, as in a kernel: `drop` of them, then it is looked for; or
 * with wake=1 all of them, one a clock tick, until the host breaks in.
 */
static void Flood(void)
{
    static char line[1024];
    uint32_t count = Option("count", 1000);
    uint32_t length = Option("length", 14);
    uint32_t cpus = Option("cpus", 1);
    uint32_t rest = Option("rest", 0);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t used = (uint32_t)Format(line, sizeof(line), "line %08u", i);
        while (used + 1 < length && used + 2 < sizeof(line)) {
            line[used++] = '.';
        }
        line[used] = '\n';
        line[used + 1] = 0;
        if (rest) {
            Tick(rest);
        }
        ServeBreakIn();
        if (!Print((uint16_t)(i % cpus), line)) {
            Report("gave-up line=%u", i);
            if (Option("wake", 0)) {
                for (; !link.broken_in && i + 1 < count; i++) {
                    Tick(1024000);
                }
                ServeBreakIn();
            } else {
                i += Option("drop", 25);
                while (!Print(0, REFRESH)) {
                }
            }
            Report("back line=%u", i + 1);
        }
    }
    Report("flooded lines=%u", count);
    LoadSymbols(DRIVER, BASE, SIZE, 0);
    LoadSymbols(DRIVER, BASE, SIZE, 1);
}

/* One of everything that waits for the host; a damaged and a repeated packet between. */
static void Stops(void)
{
    for (const char *at = "loader: 0000 found, iiii missing, 00"; *at; at++) {
        SerialPut(COM1, (uint8_t)*at);
    }
    Print(0, "first\n");
    LoadSymbols(DRIVER, BASE, SIZE, 0);
    Breakpoint(0x80412345, 1, 0);
    Prompt("Break, Ignore (bi)? ", 8);
    FileCreate("\\SystemRoot\\system32\\drivers\\hello.sys");
    CommandString("target", ".echo hello");
    LinkDamageNext();
    Print(0, "damaged once\n");
    Print(0, "sent twice\n");
    LinkRepeatLast();
    Exception(0xC0000005, 0x80423456, 0);
    LoadSymbols(DRIVER, BASE, SIZE, 1);
    LoadSymbols(NULL, 0xFFFFFFFF, 0, 1);
    Print(0, "done\n");
}

/* A kernel's last words, as two prints that cut the text in its middle; then its two breaks, the second for ever. */
static void Bugcheck(void)
{
    Print(0, "before\n");
    Print(0, REFRESH);
    Print(0, "\n*** Fatal System Error: 0x000000d1\n                       (0xF7A41234,0x0000");
    Print(0, "0002,0x00000000,0xF7A40123)\n\n");
    Breakpoint(0x80434567, 3, 0);
    Report("second-break");
    Breakpoint(0x80434567, 4, 1);
}

/* A running kernel that has nothing to say: it looks for a break-in now and then. */
static void Idle(void)
{
    Print(0, "quiet from now on\n");
    Report("idle");
    while (!link.broken_in) {
        /* While nothing is sent, only a break-in can come; a RESET is dropped, as by a running kernel. */
        Tick(link.polls);
    }
    ServeBreakIn();
    Print(0, "going on\n");
}

/*
 * A guest that runs commands: each byte on COM2 is one, and its answer is a line there. kd=1: a command prints one line, as a
 * program does that calls a driver; kd=0: this kernel has no debugger. Between two commands, no packet is on its way.
 */
static void Commands(void)
{
    char line[64];
    uint32_t debugged = Option("kd", 1);

    if (debugged) {
        LoadSymbols(DRIVER, BASE, SIZE, 0);
    }
    Report("serving");
    for (uint32_t number = 1;; number++) {
        uint8_t byte;
        while (!SerialGet(COM2, link.polls, &byte)) {
        }
        Format(line, sizeof(line), "command %u\n", number);
        if (debugged && !Print(0, line)) {
            Report("gave-up command=%u", number);
        }
        Report("answer command=%u", number);
    }
}

void Main(uint32_t magic, const uint32_t *information)
{
    int told = magic == MULTIBOOT_MAGIC && (information[0] & COMMAND_LINE_PRESENT);

    OptionsAre(told ? (const char *)information[4] : "");
    SerialOpen(COM1, (int)Option("fifo", 0));
    SerialOpen(COM2, 0);
    link.polls = Option("polls", 204800);
    link.retries = Option("retries", 20);
    LinkStart();
    Report("start polls=%u retries=%u", link.polls, link.retries);
    if (OptionIs("scenario", "flood")) {
        Flood();
    } else if (OptionIs("scenario", "stops")) {
        Stops();
    } else if (OptionIs("scenario", "bugcheck")) {
        Bugcheck();
    } else if (OptionIs("scenario", "idle")) {
        Idle();
    } else if (OptionIs("scenario", "serve")) {
        ServeModel();
    } else if (OptionIs("scenario", "commands")) {
        Commands();
    } else {
        Report("no such scenario");
    }
    End();
}
