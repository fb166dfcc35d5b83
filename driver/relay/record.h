/*
 * record.h - what the print relay writes to the debug console: one record for each print, and how it is encoded.
 *
 * A record is a header of RELAY_HEADER_SIZE bytes and `length` bytes of text, whatever they are. Little-endian:
 *
 *      0  magic        FE 54 41 50; FE occurs in no UTF-8 text
 *      4  u8  version  RELAY_VERSION
 *      5  u8  kind     RELAY_HELLO, RELAY_PRINT, RELAY_MARK, RELAY_BYE
 *      6  u16 flags    RELAY_TRUNCATED
 *      8  u32 session  differs between any two loads of the driver
 *     12  u32 sequence 0 for the hello of a session, then one more for each record, written or not; wraps around
 *     16  u64 time     interrupt time: 100 ns since the guest started
 *     24  u16 cpu      processor that the print was made on
 *     26  u16 length   of the text, at most RELAY_TEXT_MAX
 *     28  u32 component, 32 u32 level   as the print gave them; 0 for the other kinds
 *     36  u32 check of the text, 40 u32 check of bytes 0 to 39: CRC-32 as in zip and PNG
 *
 * A reader that has lost its place looks for the magic and believes a header whose check holds: so what a text holds,
 * the magic included, never matters, unless the record around it was damaged. A record that could not be written has used
 * up its number all the same, and the next one's number shows exactly how many are missing.
 *
 * No kernel header is needed, so that the same file compiles for the host, where the tests prove it.
 */
#ifndef LAB_RELAY_RECORD_H
#define LAB_RELAY_RECORD_H

#define RELAY_VERSION 1
#define RELAY_HEADER_SIZE 44
#define RELAY_TEXT_MAX 4096

#define RELAY_HELLO 0     /* the print relay begins; the text says which one it is */
#define RELAY_PRINT 1
#define RELAY_MARK 2      /* the text is the token of IOCTL_RELAY_MARK */
#define RELAY_BYE 3       /* the print relay is unloaded: nothing follows in this session */

#define RELAY_TRUNCATED 0x0001    /* the text was longer than RELAY_TEXT_MAX */

typedef struct _RELAY_RECORD {
    unsigned char kind;
    unsigned short flags;
    unsigned int session;
    unsigned int sequence;
    unsigned long long time;
    unsigned short cpu;
    unsigned short length;
    unsigned int component;
    unsigned int level;
    unsigned int text_check;
} RELAY_RECORD;

/* CRC-32 of some bytes. */
unsigned int RelayCheck(const unsigned char *bytes, unsigned int count);

/* The record's header; its text follows it. */
void RelayEncode(const RELAY_RECORD *record, unsigned char header[RELAY_HEADER_SIZE]);

#endif
