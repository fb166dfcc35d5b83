/* record.c - encodes the print relay's records; see record.h for the format. */
#include "record.h"

/* The CRC of each half byte: sixteen values instead of 256 keep the table in one or two cache lines. */
static const unsigned int HalfByte[16] = {
    0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
    0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
};

unsigned int RelayCheck(const unsigned char *bytes, unsigned int count)
{
    unsigned int check = 0xFFFFFFFF;
    unsigned int i;

    for (i = 0; i < count; i++) {
        check ^= bytes[i];
        check = check >> 4 ^ HalfByte[check & 15];
        check = check >> 4 ^ HalfByte[check & 15];
    }
    return ~check;
}

static unsigned char *Put(unsigned char *at, unsigned long long value, unsigned int bytes)
{
    while (bytes--) {
        *at++ = (unsigned char)(value & 0xFF);
        value >>= 8;
    }
    return at;
}

void RelayEncode(const RELAY_RECORD *record, unsigned char header[RELAY_HEADER_SIZE])
{
    unsigned char *at = header;

    *at++ = 0xFE;
    *at++ = 'T';
    *at++ = 'A';
    *at++ = 'P';
    *at++ = RELAY_VERSION;
    *at++ = record->kind;
    at = Put(at, record->flags, 2);
    at = Put(at, record->session, 4);
    at = Put(at, record->sequence, 4);
    at = Put(at, record->time, 8);
    at = Put(at, record->cpu, 2);
    at = Put(at, record->length, 2);
    at = Put(at, record->component, 4);
    at = Put(at, record->level, 4);
    at = Put(at, record->text_check, 4);
    Put(at, RelayCheck(header, RELAY_HEADER_SIZE - 4), 4);
}
