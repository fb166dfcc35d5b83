/*
 * pax.c - numbers in the headers of a ustar or pax stream.
 */
#include "pax.h"

void PutOctal(U8 *field, int digits, U64 value)
{
    while (digits--) {
        field[digits] = (U8)('0' + (value & 7));
        value >>= 3;
    }
}

BOOL GetOctal(const U8 *field, int size, U64 *value)
{
    int i = 0;

    *value = 0;
    if (field[0] & 0x80) {  /* GNU: binary, for large values */
        *value = field[0] & 0x7F;
        for (i = 1; i < size; i++) {
            if (*value >> 55)
                return FALSE;
            *value = *value << 8 | field[i];
        }
        return TRUE;
    }
    while (i < size && field[i] == ' ')
        i++;
    for (; i < size && field[i] && field[i] != ' '; i++) {
        if (field[i] < '0' || field[i] > '7')
            return FALSE;
        *value = *value << 3 | (U64)(field[i] - '0');
    }
    return TRUE;
}

U64 HeaderSum(const U8 *header)
{
    U64 sum = 0;
    int i;

    for (i = 0; i < BLOCK; i++)
        sum += i >= AT_CHECKSUM && i < AT_CHECKSUM + CHECKSUM_SIZE ? ' ' : header[i];
    return sum;
}
