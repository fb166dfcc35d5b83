/*
 * stop.c - what a kernel tells its debugger and what it lets the debugger do, with everything received told on COM2.
 *
 * Structures are the 64-bit ones, which 32-bit kernels use too, with pointers sign-extended.
 */
#include "target.h"

#define PRINT_STRING 0x3230
#define GET_STRING 0x3231
#define EXCEPTION 0x3030
#define LOAD_SYMBOLS 0x3031
#define COMMAND_STRING 0x3032
#define CREATE_FILE 0x3430

#define GET_CONTEXT 0x3132
#define SET_CONTEXT 0x3133
#define CONTINUE 0x3136
#define REBOOT 0x313B
#define CONTINUE_2 0x313C
#define GET_VERSION 0x3146
#define SET_CONTEXT_EX 0x3160

#define STATUS_UNSUCCESSFUL 0xC0000001u
#define STATUS_BREAKPOINT 0x80000003u
#define INT3 0xCC
#define NOP 0x90

enum { STATE_SIZE = 240, REQUEST_SIZE = 56, CONTEXT_SIZE = 716 };
enum { CONTEXT_FLAGS = 0, CONTEXT_ECX = 0xAC, CONTEXT_EIP = 0xB8, CONTEXT_EFLAGS = 0xC0, CONTEXT_ESP = 0xC4 };

static uint8_t out[MAX_PAYLOAD];
static uint8_t context[CONTEXT_SIZE];
static int context_known; /* a context can be set only after it was got in the same stop */

static void Put16(uint8_t *to, uint32_t at, uint32_t value)
{
    uint16_t low = (uint16_t)value;
    memcpy(to + at, &low, 2);
}

static void Put32(uint8_t *to, uint32_t at, uint32_t value)
{
    memcpy(to + at, &value, 4);
}

static void PutPointer(uint8_t *to, uint32_t at, uint32_t value)
{
    Put32(to, at, value);
    Put32(to, at + 4, value & 0x80000000u ? 0xFFFFFFFFu : 0);
}

static uint32_t Take32(const uint8_t *from, uint32_t at)
{
    uint32_t value;
    memcpy(&value, from + at, 4);
    return value;
}

/* Send, and wait for a packet of the same kind; a host that asks for it gets the question again. */
static void Ask(uint16_t kind, uint32_t length)
{
    for (;;) {
        LinkSend(kind, out, length, 0);
        Outcome outcome;
        do {
            outcome = LinkReceive(kind);
        } while (outcome == TIMED_OUT);
        if (outcome == DONE) {
            return;
        }
    }
}

int Print(uint16_t cpu, const char *text)
{
    uint32_t length = (uint32_t)Length(text);

    memset(out, 0, 16);
    Put32(out, 0, PRINT_STRING);
    Put16(out, 4, 6);
    Put16(out, 6, cpu);
    Put32(out, 8, length);
    memcpy(out + 16, text, length);
    return LinkSend(DEBUG_IO, out, 16 + length, 1) == DONE;
}

void Prompt(const char *question, uint32_t room)
{
    char answer[256];
    uint32_t length = (uint32_t)Length(question);

    memset(out, 0, 16);
    Put32(out, 0, GET_STRING);
    Put16(out, 4, 6);
    Put32(out, 8, length);
    Put32(out, 12, room);
    memcpy(out + 16, question, length);
    Ask(DEBUG_IO, 16 + length);
    uint32_t said = received_length >= 16 ? Take32(received, 12) : 0;
    if (received_length < 16 || said > room || 16 + said > received_length || said >= sizeof(answer)) {
        Report("prompt malformed=%u said=%u", received_length, said);
        return;
    }
    memcpy(answer, received + 16, said);
    answer[said] = 0;
    Report("prompt api=%04x length=%u reply=%s", Take32(received, 0), said, answer);
}

void FileCreate(const char *name)
{
    uint32_t length = (uint32_t)Length(name);

    memset(out, 0, 64);
    Put32(out, 0, CREATE_FILE);
    Put32(out, 8, 0x80100080);  /* read, synchronise */
    Put32(out, 12, 0x80);       /* ordinary file */
    Put32(out, 16, 5);          /* others may read and delete */
    Put32(out, 20, 1);          /* open, do not make */
    Put32(out, 24, 0x20);       /* synchronous */
    for (uint32_t i = 0; i < length; i++) {
        Put16(out, 64 + 2 * i, (uint8_t)name[i]);
    }
    Ask(FILE_IO, 64 + 2 * length);
    if (received_length < 64) {
        Report("file malformed=%u", received_length);
        return;
    }
    Report("file api=%04x status=%08x", Take32(received, 0), Take32(received, 4));
}

static void BeginState(uint32_t state, uint32_t pc)
{
    memset(out, 0, STATE_SIZE);
    Put32(out, 0, state);
    Put16(out, 4, 6);
    Put32(out, 8, 1);
    PutPointer(out, 16, 0x82345678); /* thread */
    PutPointer(out, 24, pc);
    Put32(out, 192, 0xFFFF0FF0);     /* Dr6 */
    Put32(out, 196, 0x400);          /* Dr7 */
    Put16(out, 200, 16);
    memset(out + 204, NOP, 16);
    Put16(out, 220, 0x08);           /* Cs */
    Put16(out, 222, 0x23);
    Put16(out, 224, 0x23);
    Put16(out, 226, 0x30);
    Put32(out, 228, 0x202);          /* EFlags */
}

static void Reply(uint32_t status, uint32_t extra)
{
    static uint8_t reply[REQUEST_SIZE + CONTEXT_SIZE];

    memcpy(reply, received, REQUEST_SIZE);
    Put32(reply, 8, status);
    if (Take32(received, 0) == GET_VERSION) {
        memset(reply + 16, 0, 40);
        Put16(reply, 16, 15);                 /* free build */
        Put16(reply, 18, 2600);
        reply[20] = 6;                        /* protocol */
        Put16(reply, 24, 0x14C);              /* i386 */
        PutPointer(reply, 32, 0x80400000);    /* kernel */
    }
    if (extra) {
        memcpy(reply + REQUEST_SIZE, context, extra);
    }
    LinkSend(STATE_MANIPULATE, reply, REQUEST_SIZE + extra, 0);
}

static void SetContext(const uint8_t *from, uint32_t offset, uint32_t length, uint32_t total)
{
    if (!context_known || total != CONTEXT_SIZE || length > total || offset > total - length ||
        REQUEST_SIZE + length > received_length) {
        Report("setcontext refused known=%u total=%u", (uint32_t)context_known, total);
        Reply(STATUS_UNSUCCESSFUL, 0);
        return;
    }
    memcpy(context + offset, from, length);
    if (offset + length == total) {
        Report("setcontext eip=%08x", Take32(context, CONTEXT_EIP));
    }
    Reply(0, 0);
}

/* One request of the host at a stop; 1 when it lets the target go on. */
static int Serve(uint32_t *status)
{
    uint32_t api = received_length >= REQUEST_SIZE ? Take32(received, 0) : 0;

    switch (api) {
    case CONTINUE:
    case CONTINUE_2:
        *status = Take32(received, 16);
        Report("continue api=%04x status=%08x trace=%u dr7=%08x", api, *status, Take32(received, 20), Take32(received, 24));
        return 1;
    case REBOOT:
        Report("reboot");
        Reboot();
    case GET_CONTEXT:
        context_known = 1;
        Report("getcontext flags=%08x", Take32(received, 16));
        Reply(0, CONTEXT_SIZE);
        return 0;
    case SET_CONTEXT:
        SetContext(received + REQUEST_SIZE, 0, CONTEXT_SIZE, received_length - REQUEST_SIZE);
        return 0;
    case SET_CONTEXT_EX:
        SetContext(received + REQUEST_SIZE, Take32(received, 16), Take32(received, 20), Take32(received, 24));
        return 0;
    case GET_VERSION:
        Report("getversion");
        Reply(0, 0);
        return 0;
    case 0:
        Report("request malformed=%u", received_length);
        return 0;
    default:
        Report("request api=%04x", api);
        Reply(STATUS_UNSUCCESSFUL, 0);
        return 0;
    }
}

/* Send the state in `out` and serve the host until it lets us go on; returns its status. */
static uint32_t Stop(uint32_t length)
{
    uint32_t status = 0;

    context_known = 0;
    for (;;) {
        LinkSend(STATE_CHANGE, out, length, 0);
        for (;;) {
            Outcome outcome = LinkReceive(STATE_MANIPULATE);
            if (outcome == SEND_AGAIN) {
                break;
            }
            if (outcome == DONE && Serve(&status)) {
                link.broken_in = 0; /* whoever asked for a stop has had one */
                return status;
            }
        }
    }
}

void LoadSymbols(const char *path, uint32_t base, uint32_t size, int unload)
{
    uint32_t length = path ? (uint32_t)Length(path) + 1 : 0;

    BeginState(LOAD_SYMBOLS, 0x80401234);
    Put32(out, 32, length);
    PutPointer(out, 40, base);
    PutPointer(out, 48, 4); /* the system process */
    Put32(out, 56, 0x1234);
    Put32(out, 60, size);
    out[64] = unload ? 1 : 0;
    memcpy(out + STATE_SIZE, path ? path : "", length);
    Report("%s status=%08x", unload ? "unload" : "load", Stop(STATE_SIZE + length));
}

void CommandString(const char *name, const char *command)
{
    uint32_t first = (uint32_t)Length(name) + 1;
    uint32_t second = (uint32_t)Length(command) + 1;

    BeginState(COMMAND_STRING, 0x80401234);
    memcpy(out + STATE_SIZE, name, first);
    memcpy(out + STATE_SIZE + first, command, second);
    Report("command status=%08x", Stop(STATE_SIZE + first + second));
}

static uint32_t StopAtException(uint32_t code, uint32_t address, int first_chance, uint8_t instruction)
{
    BeginState(EXCEPTION, address);
    Put32(out, 32, code);
    PutPointer(out, 48, address);
    Put32(out, 56, 1);
    Put32(out, 184, first_chance ? 1 : 0);
    out[204] = instruction;
    return Stop(STATE_SIZE);
}

void Breakpoint(uint32_t address, uint32_t status, int for_ever)
{
    for (;;) {
        memset(context, 0, sizeof(context));
        Put32(context, CONTEXT_FLAGS, 0x1003F);
        Put32(context, CONTEXT_ECX, status);
        Put32(context, CONTEXT_EIP, address);
        Put32(context, CONTEXT_EFLAGS, 0x202);
        Put32(context, CONTEXT_ESP, 0xF78AFF00);
        uint32_t answer = StopAtException(STATUS_BREAKPOINT, address, 1, INT3);
        uint32_t eip = Take32(context, CONTEXT_EIP);
        Report("int3 status=%08x stepped=%u eip=%08x", answer, (uint32_t)(eip == address + 1), eip);
        if (eip == address + 1 && !for_ever) {
            return;
        }
    }
}

void Exception(uint32_t code, uint32_t address, int first_chance)
{
    memset(context, 0, sizeof(context));
    Put32(context, CONTEXT_EIP, address);
    uint32_t status = StopAtException(code, address, first_chance, 0x8B);
    Report("exception code=%08x status=%08x", code, status);
}
