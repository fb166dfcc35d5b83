/* native.c - the driver's encoder and lock on the host: threads are processors, a growing buffer is the port. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "platform.h"
#include "writer.h"

#define PROCESSORS_MAX 16

static RELAY_WRITER writer;
static unsigned char *port;
static size_t room, used;
static unsigned int tear;       /* the processor is given away after so many bytes */
static unsigned int interrupts; /* every so many records, an interrupt prints in the middle of one */
static unsigned int refused;
static unsigned long long now;

static __thread unsigned int processor;
static __thread int off;
static __thread int inside;

unsigned long long RelayTime(void)
{
    return ++now; /* under the lock, or else numbers would come twice */
}

unsigned int RelayProcessor(void)
{
    return processor;
}

void RelayOut(const unsigned char *bytes, unsigned int count)
{
    unsigned int i;

    for (i = 0; i < count; i++) {
        if (used < room)
            port[used++] = bytes[i];
        if (tear && used % tear == 0)
            sched_yield();
    }
    if (interrupts && writer.sequence % interrupts == 0 && !inside) {
        inside = 1;
        if (off && !RelayWrite(&writer, RELAY_PRINT, 1, 1, "interrupt", 9))
            __atomic_add_fetch(&refused, 1, __ATOMIC_SEQ_CST);
        inside = 0;
    }
}

unsigned long RelayInterruptsOff(void)
{
    return (unsigned long)__atomic_exchange_n(&off, 1, __ATOMIC_SEQ_CST);
}

void RelayInterruptsBack(unsigned long before)
{
    off = (int)before;
}

void RelayPause(void)
{
    sched_yield();
}

/* What the tests call. */

void Open(unsigned char *buffer, size_t size, unsigned int session, unsigned int tear_every, unsigned int interrupt_every)
{
    port = buffer;
    room = size;
    used = 0;
    tear = tear_every;
    interrupts = interrupt_every;
    refused = 0;
    now = 0;
    RelayStart(&writer, session);
}

size_t Used(void)
{
    return used;
}

unsigned int Refused(void)
{
    return refused;
}

int InterruptsAreOff(void)
{
    return off;
}

int Write(unsigned int on, unsigned char kind, unsigned int component, unsigned int level, const void *text, unsigned int length)
{
    processor = on;
    return RelayWrite(&writer, kind, component, level, text, length);
}

/* Another processor takes the port and stands still; 0 lets it go. */
void HoldAs(long owner)
{
    writer.owner = owner;
}

void NumberIs(unsigned int sequence)
{
    writer.sequence = sequence;
}

struct work {
    pthread_t thread;
    unsigned int processor, count;
};

static void *Work(void *argument)
{
    struct work *work = argument;
    char line[64];
    unsigned int i;

    processor = work->processor;
    for (i = 0; i < work->count; i++) {
        int length = snprintf(line, sizeof(line), "cpu %u line %08u\n", processor, i);
        RelayWrite(&writer, RELAY_PRINT, 77, 3, line, (unsigned int)length);
    }
    return NULL;
}

int Flood(unsigned int processors, unsigned int count)
{
    struct work work[PROCESSORS_MAX];
    unsigned int i, started = 0;

    for (i = 0; i < processors && i < PROCESSORS_MAX; i++) {
        work[i].processor = i;
        work[i].count = count;
        if (pthread_create(&work[i].thread, NULL, Work, &work[i]))
            break;
        started++;
    }
    for (i = 0; i < started; i++)
        pthread_join(work[i].thread, NULL);
    return started == processors;
}

void Encode(unsigned char kind, unsigned short flags, unsigned int session, unsigned int sequence, unsigned long long time,
            unsigned short cpu, unsigned int component, unsigned int level, const unsigned char *text, unsigned short length,
            unsigned char *to)
{
    RELAY_RECORD record = {kind, flags, session, sequence, time, cpu, length, component, level, RelayCheck(text, length)};

    RelayEncode(&record, to);
    memcpy(to + RELAY_HEADER_SIZE, text, length);
}
