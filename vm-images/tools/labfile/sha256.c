/*
 * sha256.c - SHA-256 (FIPS 180-4).
 */
#include "sha256.h"

static const U32 RoundConstants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static U32 Rotate(U32 value, int by)
{
    return value >> by | value << (32 - by);
}

static void HashBlock(SHA256 *hash, const U8 *block)
{
    U32 w[64], v[8];
    int i;

    for (i = 0; i < 16; i++)
        w[i] = (U32)block[4 * i] << 24 | (U32)block[4 * i + 1] << 16 | (U32)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (; i < 64; i++) {
        U32 s0 = Rotate(w[i - 15], 7) ^ Rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        U32 s1 = Rotate(w[i - 2], 17) ^ Rotate(w[i - 2], 19) ^ w[i - 2] >> 10;

        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    for (i = 0; i < 8; i++)
        v[i] = hash->state[i];
    for (i = 0; i < 64; i++) {
        U32 s1 = Rotate(v[4], 6) ^ Rotate(v[4], 11) ^ Rotate(v[4], 25);
        U32 choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
        U32 one = v[7] + s1 + choice + RoundConstants[i] + w[i];
        U32 s0 = Rotate(v[0], 2) ^ Rotate(v[0], 13) ^ Rotate(v[0], 22);
        U32 two = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        int k;

        for (k = 7; k > 0; k--)
            v[k] = v[k - 1];
        v[4] += one;
        v[0] = one + two;
    }
    for (i = 0; i < 8; i++)
        hash->state[i] += v[i];
}

void HashStart(SHA256 *hash)
{
    static const U32 initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    int i;

    for (i = 0; i < 8; i++)
        hash->state[i] = initial[i];
    hash->size = 0;
}

void HashAdd(SHA256 *hash, const U8 *data, SIZE_T size)
{
    SIZE_T held = (SIZE_T)(hash->size % 64);

    hash->size += size;
    if (held) {
        SIZE_T part = 64 - held < size ? 64 - held : size;

        Copy(hash->block + held, data, part);
        data += part;
        size -= part;
        if (held + part < 64)
            return;
        HashBlock(hash, hash->block);
    }
    for (; size >= 64; data += 64, size -= 64)
        HashBlock(hash, data);
    Copy(hash->block, data, size);
}

void HashEnd(SHA256 *hash, char text[65])
{
    static const char digits[] = "0123456789abcdef";
    U64 bits = hash->size * 8;
    U8 padding[72] = {0x80};
    SIZE_T size = 64 - (SIZE_T)((hash->size + 8) % 64);
    int i;

    for (i = 0; i < 8; i++)
        padding[size + (SIZE_T)i] = (U8)(bits >> (56 - 8 * i));
    HashAdd(hash, padding, size + 8);
    for (i = 0; i < 32; i++) {
        U8 byte = (U8)(hash->state[i / 4] >> (24 - 8 * (i % 4)));

        text[2 * i] = digits[byte >> 4];
        text[2 * i + 1] = digits[byte & 15];
    }
    text[64] = 0;
}
