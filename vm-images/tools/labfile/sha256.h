/*
 * sha256.h - SHA-256 (FIPS 180-4).
 */
#ifndef LAB_LABFILE_SHA256_H
#define LAB_LABFILE_SHA256_H

#include "base.h"

typedef struct _SHA256 {
    U32 state[8];
    U64 size;
    U8 block[64];
} SHA256;

void HashStart(SHA256 *hash);
void HashAdd(SHA256 *hash, const U8 *data, SIZE_T size);
void HashEnd(SHA256 *hash, char text[65]);  /* lower-case hexadecimal; ends the hash */

#endif
