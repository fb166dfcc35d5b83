/*
 * link.c - packets on COM1, as a kernel's serial transport sends and takes them.
 *
 * Each direction numbers its packets with one toggling bit. The first packet after a start, and after giving up, carries
 * the SYNC bit, by which the host learns that both directions begin anew. A packet is sent again until it is acknowledged;
 * one that may be lost is given up after so many tries, and then the host counts as absent.
 */
#include "target.h"

#define DATA_LEADER 0x30
#define CONTROL_LEADER 0x69
#define BREAK_IN 0x62
#define TRAILER 0xAA
#define FIRST_ID 0x80800000u
#define SYNC 0x800u

enum { ACKNOWLEDGE = 4, RESEND = 5, RESET = 6 };

typedef struct {
    uint32_t leader;
    uint16_t kind;
    uint16_t count;
    uint32_t id;
    uint32_t checksum;
} Header;

typedef enum { FOR_ANSWER, FOR_ACKNOWLEDGEMENT } Purpose;

Link link;
uint8_t received[MAX_PAYLOAD];
uint32_t received_length;

static uint32_t send_id;
static uint32_t receive_id;
static int damage_next;
static uint8_t last[MAX_PAYLOAD];
static Header last_header;

static void Put(const void *bytes, uint32_t count)
{
    const uint8_t *at = bytes;
    while (count--) {
        SerialPut(COM1, *at++);
    }
}

static int Get(void *bytes, uint32_t count)
{
    uint8_t *at = bytes;
    while (count--) {
        if (!SerialGet(COM1, link.polls, at++)) {
            return 0;
        }
    }
    return 1;
}

static uint32_t Sum(const uint8_t *bytes, uint32_t count)
{
    uint32_t sum = 0;
    while (count--) {
        sum += *bytes++;
    }
    return sum;
}

static void PutControl(uint16_t kind, uint32_t id)
{
    Header header = { 0x69696969, kind, 0, id, 0 };
    Put(&header, sizeof(header));
}

static void PutLast(int damaged)
{
    Header header = last_header;
    header.checksum += damaged ? 1 : 0;
    Put(&header, sizeof(header));
    Put(last, header.count);
    SerialPut(COM1, TRAILER);
}

void LinkStart(void)
{
    send_id = FIRST_ID | SYNC;
    receive_id = FIRST_ID;
}

void LinkDamageNext(void)
{
    damage_next = 1;
}

void LinkRepeatLast(void)
{
    PutLast(0);
}

/* Everything up to the end of the next header; DONE when there is one. */
static Outcome GetHeader(Header *header)
{
    uint8_t byte;
    uint8_t leader = 0;
    int equal = 0;

    while (equal < 4) {
        if (!SerialGet(COM1, link.polls, &byte)) {
            return TIMED_OUT;
        }
        if (byte == BREAK_IN && equal == 0) {
            link.break_ins++;
            link.broken_in = 1;
        }
        if (byte != DATA_LEADER && byte != CONTROL_LEADER) {
            equal = 0;
        } else {
            equal = byte == leader ? equal + 1 : 1;
            leader = byte;
        }
    }
    header->leader = leader;
    return Get(&header->kind, sizeof(*header) - sizeof(header->leader)) ? DONE : TIMED_OUT;
}

static int GetBody(const Header *header)
{
    uint8_t trailer;

    if (header->count > MAX_PAYLOAD || !Get(received, header->count) || !Get(&trailer, 1)) {
        return 0;
    }
    received_length = header->count;
    return trailer == TRAILER && Sum(received, header->count) == header->checksum;
}

/* A control packet that came; TIMED_OUT stands for "go on waiting". */
static Outcome TakeControl(const Header *header, Purpose purpose)
{
    if (header->kind == ACKNOWLEDGE && purpose == FOR_ACKNOWLEDGEMENT && header->id == (send_id & ~SYNC)) {
        return DONE;
    }
    if (header->kind == RESEND) {
        link.resends++;
        return SEND_AGAIN;
    }
    if (header->kind == RESET) {
        link.resets++;
        send_id = FIRST_ID;
        receive_id = FIRST_ID;
        PutControl(RESET, 0);
        return SEND_AGAIN;
    }
    return TIMED_OUT;
}

static Outcome Wait(Purpose purpose, uint16_t kind)
{
    for (;;) {
        Header header;
        if (GetHeader(&header) != DONE) {
            return TIMED_OUT;
        }
        if (header.leader == CONTROL_LEADER) {
            Outcome outcome = TakeControl(&header, purpose);
            if (outcome != TIMED_OUT) {
                return outcome;
            }
            continue;
        }
        if (!GetBody(&header)) {
            PutControl(RESEND, 0);
            continue;
        }
        if (purpose == FOR_ACKNOWLEDGEMENT && header.id == receive_id) {
            /* The host goes on, so that it has our packet. Its own must come again, when we wait for it. */
            PutControl(RESEND, 0);
            return DONE;
        }
        PutControl(ACKNOWLEDGE, header.id & ~SYNC);
        if (header.id == receive_id && header.kind == kind) {
            receive_id ^= 1;
            return DONE;
        }
    }
}

Outcome LinkReceive(uint16_t kind)
{
    return Wait(FOR_ANSWER, kind);
}

Outcome LinkSend(uint16_t kind, const void *payload, uint32_t length, int may_be_lost)
{
    memcpy(last, payload, length);
    for (uint32_t tries = 0;;) {
        /* A RESET that came between two tries has changed the id. */
        last_header = (Header){ 0x30303030, kind, (uint16_t)length, send_id, Sum(last, length) };
        PutLast(damage_next);
        damage_next = 0;
        Outcome outcome = Wait(FOR_ACKNOWLEDGEMENT, 0);
        if (outcome == DONE) {
            send_id = (send_id & ~SYNC) ^ 1;
            return DONE;
        }
        link.again++;
        if (outcome == TIMED_OUT && ++tries >= link.retries && may_be_lost) {
            LinkStart();
            return GAVE_UP;
        }
    }
}
