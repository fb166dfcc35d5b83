/*
 * target.h - a machine that is nothing but the target side of the kernel-debugger serial protocol.
 *
 * COM1 speaks the protocol. COM2 tells in text what the target saw, one "event key=value ..." a line.
 */
#ifndef TARGET_H
#define TARGET_H

#include <stddef.h>
#include <stdint.h>

#define COM1 0x3F8
#define COM2 0x2F8

/* machine.c */
void SerialOpen(uint16_t port, int fifo);
void SerialPut(uint16_t port, uint8_t byte);
int SerialGet(uint16_t port, uint32_t polls, uint8_t *byte); /* 0: nothing came within that many status reads */
_Noreturn void PowerOff(void);
_Noreturn void Reboot(void);

/* text.c; formats: %u, %0Nu, %x, %0Nx, %s, %% */
int Format(char *to, size_t room, const char *format, ...) __attribute__((format(printf, 3, 4)));
void Report(const char *format, ...) __attribute__((format(printf, 1, 2)));
size_t Length(const char *text);
void OptionsAre(const char *command_line);
uint32_t Option(const char *name, uint32_t otherwise);
int OptionIs(const char *name, const char *value);

/* link.c: packets and their reliability */
enum { STATE_MANIPULATE = 2, DEBUG_IO = 3, STATE_CHANGE = 7, FILE_IO = 11 };
enum { MAX_PAYLOAD = 4000 };
typedef enum { DONE, TIMED_OUT, SEND_AGAIN, GAVE_UP } Outcome;

typedef struct {
    uint32_t polls;     /* status reads that a wait for a byte takes */
    uint32_t retries;   /* tries of a packet that may be lost */
    uint32_t resends;   /* RESEND packets that came */
    uint32_t resets;    /* RESET packets that came */
    uint32_t break_ins; /* break-in bytes that came */
    uint32_t again;     /* packets that were sent more than once */
    int broken_in;      /* a break-in has not been served yet */
} Link;

extern Link link;
extern uint8_t received[MAX_PAYLOAD]; /* what LinkReceive took */
extern uint32_t received_length;

void LinkStart(void);
Outcome LinkSend(uint16_t kind, const void *payload, uint32_t length, int may_be_lost);
Outcome LinkReceive(uint16_t kind); /* DONE, TIMED_OUT, or SEND_AGAIN: the host wants the last packet once more */
void LinkDamageNext(void);          /* the first try of the next packet has a wrong checksum */
void LinkRepeatLast(void);          /* send the last packet once more, as if its acknowledgement had been lost */

/* stop.c: everything that waits for the host */
int Print(uint16_t cpu, const char *text);                /* 0: nobody acknowledged it */
void Prompt(const char *question, uint32_t room);
void FileCreate(const char *name);
void LoadSymbols(const char *path, uint32_t base, uint32_t size, int unload);
void CommandString(const char *name, const char *command);
void Breakpoint(uint32_t address, uint32_t status, int for_ever); /* not passed until the host stepped over it */
void Exception(uint32_t code, uint32_t address, int first_chance);

/* serve.c */
void ServeModel(void);

/* scenario.c */
void ServeBreakIn(void);
void Tick(uint32_t polls);
void Main(uint32_t magic, const uint32_t *information);

/* what the compiler may call */
void *memcpy(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);

#endif
