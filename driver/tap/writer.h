/*
 * writer.h - one writer of records for all processors: numbers them, and keeps their bytes together on the port.
 *
 * No kernel header is needed here either: what differs between a driver, a program without a system and a test on the
 * host is the few functions at the end, which each of them brings.
 */
#ifndef LAB_TAP_WRITER_H
#define LAB_TAP_WRITER_H

#include "record.h"

/* Tries for the port, each some 50 ns or more: a second at least, where a record takes a millisecond or two. */
#ifndef TAP_TRIES
#define TAP_TRIES 0x1000000u
#endif

typedef struct _TAP_WRITER {
    volatile long owner;    /* processor + 1 that writes now; 0: nobody */
    volatile long lost;     /* prints given up since the last record */
    unsigned int session;   /* the rest belongs to the owner */
    unsigned int sequence;
} TAP_WRITER;

/* Before the first record. `session` should differ from that of any earlier load. */
void TapStart(TAP_WRITER *writer, unsigned int session);

/*
 * Writes one record. Callable on any processor at any interrupt level, from an interrupt of a running TapWrite too.
 * Returns 0 when the port could not be had; a TAP_PRINT then counts as lost, which the next record tells.
 */
int TapWrite(TAP_WRITER *writer, unsigned char kind, unsigned int component, unsigned int level, const void *text,
             unsigned int length);

/* Brought by whoever links this. TapTime, TapProcessor and TapOut are called with interrupts off. */
unsigned long long TapTime(void);                               /* 100 ns since the start */
unsigned int TapProcessor(void);                                /* number of the current one */
void TapOut(const unsigned char *bytes, unsigned int count);    /* to the port, in order */
unsigned long TapInterruptsOff(void);                           /* returns what TapInterruptsBack takes */
void TapInterruptsBack(unsigned long before);
void TapPause(void);                                            /* between two tries */

#endif
