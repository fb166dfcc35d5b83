/*
 * writer.h - one writer of records for all processors: numbers them, and keeps their bytes together on the port.
 *
 * No kernel header is needed here either: what differs between a driver, a program without a system and a test on the
 * host is in platform.h.
 */
#ifndef LAB_RELAY_WRITER_H
#define LAB_RELAY_WRITER_H

#include "record.h"

/* Tries for the port, each some 50 ns or more: a second at least, where a record takes a millisecond or two. */
#ifndef RELAY_TRIES
#define RELAY_TRIES 0x1000000u
#endif

typedef struct _RELAY_WRITER {
    volatile long owner;    /* processor + 1 that writes now; 0: none */
    volatile long lost;     /* prints given up since the last record */
    unsigned int session;   /* the rest belongs to the owner */
    unsigned int sequence;
} RELAY_WRITER;

/* Before the first record. `session` should differ from that of any earlier load. */
void RelayStart(RELAY_WRITER *writer, unsigned int session);

/*
 * Writes one record. Callable on any processor at any interrupt level, from an interrupt of a running RelayWrite too.
 * Returns 0 when the port could not be had; a RELAY_PRINT then counts as lost, which the next record says.
 */
int RelayWrite(RELAY_WRITER *writer, unsigned char kind, unsigned int component, unsigned int level, const void *text,
             unsigned int length);

#endif
