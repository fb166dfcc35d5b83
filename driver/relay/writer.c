/*
 * writer.c - the lock around the debug console, and the numbers of the records.
 *
 * Why a lock of our own, and why this one. Each byte is an exit to QEMU of its own, so two processors that write at the
 * same time would mix their bytes. A spin lock of the kernel raises to DISPATCH_LEVEL only, while prints are made at any
 * level up to the highest, inside of interrupt routines too. So:
 *
 *   - Interrupts are off while the lock is held. An interrupt routine that prints on the holder's processor would
 *     otherwise wait for the code that it has interrupted. And a holder that answered an interprocessor interrupt would
 *     wait for all processors, one of which may be waiting here with its interrupts off. A record takes 3 us a byte
 *     under emulation, 1 to 2 ms at the 512 bytes that Windows allows for a print: less than the kernel debugger needs for one,
 *     during which it stops every processor.
 *   - Interrupts are as the caller had them while the lock is waited for.
 *   - What cannot be switched off (NMI, machine check) may still print in the middle of its own processor's record: the
 *     owner's number shows it, and such a print is given up at once.
 *   - A holder may stand still for good, stopped by a debugger's NMI: tries are limited. Tries, not time: what a paused
 *     virtual machine or a busy host takes from this processor does not count.
 *
 * A print that is given up is counted, not forgotten: the next record's number is that much higher. Numbers are given
 * under the lock, so records come out in the order of their numbers, and so do their times.
 */
#include "platform.h"
#include "writer.h"

#ifdef _MSC_VER
#include <intrin.h>
#define Exchange(target, value) _InterlockedExchange(target, value)
#define ExchangeIf(target, expected, value) _InterlockedCompareExchange(target, value, expected)
#define Increment(target) _InterlockedIncrement(target)
#else
#define Exchange(target, value) __atomic_exchange_n(target, value, __ATOMIC_SEQ_CST)
#define ExchangeIf(target, expected, value) __sync_val_compare_and_swap(target, expected, value)
#define Increment(target) __atomic_add_fetch(target, 1, __ATOMIC_SEQ_CST)
#endif

void RelayStart(RELAY_WRITER *writer, unsigned int session)
{
    writer->owner = 0;
    writer->lost = 0;
    writer->session = session;
    writer->sequence = 0;
}

/* Returns 1 with the lock held and interrupts off, or 0 with neither. */
static int Acquire(RELAY_WRITER *writer, unsigned long *interrupts)
{
    unsigned int tries;

    for (tries = 0; tries < RELAY_TRIES; tries++) {
        long me, owner;

        /* Off before the processor is asked for its number: at a low level the thread might move in between. */
        *interrupts = RelayInterruptsOff();
        me = (long)RelayProcessor() + 1;
        owner = writer->owner;
        if (owner == 0) {
            owner = ExchangeIf(&writer->owner, 0, me);
            if (owner == 0)
                return 1;
        }
        RelayInterruptsBack(*interrupts);
        if (owner == me)
            return 0;
        RelayPause();
    }
    return 0;
}

int RelayWrite(RELAY_WRITER *writer, unsigned char kind, unsigned int component, unsigned int level, const void *text,
             unsigned int length)
{
    unsigned char header[RELAY_HEADER_SIZE];
    unsigned long interrupts;
    RELAY_RECORD record;

    record.kind = kind;
    record.flags = length > RELAY_TEXT_MAX ? RELAY_TRUNCATED : 0;
    record.length = (unsigned short)(length > RELAY_TEXT_MAX ? RELAY_TEXT_MAX : length);
    record.component = component;
    record.level = level;
    record.text_check = RelayCheck((const unsigned char *)text, record.length);

    if (!Acquire(writer, &interrupts)) {
        if (kind == RELAY_PRINT)
            Increment(&writer->lost);
        return 0;
    }
    writer->sequence += (unsigned int)Exchange(&writer->lost, 0);
    record.session = writer->session;
    record.sequence = writer->sequence++;
    record.cpu = (unsigned short)RelayProcessor();
    record.time = RelayTime();
    RelayEncode(&record, header);
    RelayOut(header, RELAY_HEADER_SIZE);
    RelayOut((const unsigned char *)text, record.length);
    Exchange(&writer->owner, 0);
    RelayInterruptsBack(interrupts);
    return 1;
}
