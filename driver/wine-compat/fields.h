/*
 * fields.h - the parts that a formatted text is put together from: units, texts and numbers, padded to a width. Narrow text
 * is UTF-8, wide text is UTF-16; each becomes the other where the output asks for it. format.c says which parts a format has.
 */
#ifndef LAB_FIELDS_H
#define LAB_FIELDS_H

#include <stddef.h>
#include <stdint.h>

#define FLAG_LEFT 1
#define FLAG_PLUS 2
#define FLAG_BLANK 4
#define FLAG_ALTERNATE 8
#define FLAG_ZERO 16
#define NO_PRECISION (-1)

typedef uint16_t FORMAT_WIDE;   /* a wide character of Windows */

typedef struct {
    char *narrow;           /* one of the two is where the text goes */
    FORMAT_WIDE *wide;
    size_t room;
    size_t count;           /* of the whole text */
    int unlike_nt;          /* wide text beyond ASCII went into narrow text */
} SINK;

/* What stands between the percent sign and the letter; the size of the argument is format.c's. */
typedef struct {
    unsigned flags;
    int width;
    int precision;
} SPEC;

/* ANSI_STRING and UNICODE_STRING: lengths in bytes. */
typedef struct {
    uint16_t length;
    uint16_t maximum;
    const void *buffer;
} COUNTED;

/* A unit of the format itself: a byte or a wide character, as the output has it. */
void PutUnit(SINK *sink, unsigned unit);

/* A null pointer prints (null). `wide` is the width of the argument. */
void PutString(SINK *sink, const SPEC *spec, int wide, const void *string);
void PutCounted(SINK *sink, const SPEC *spec, int wide, const COUNTED *string);   /* a precision does not cut it */
void PutCharacter(SINK *sink, const SPEC *spec, int wide, unsigned value);

/* `prefix` is the sign, or 0x. */
void PutNumber(SINK *sink, const SPEC *spec, uint64_t value, unsigned base, int capital, const char *prefix);
void PutSigned(SINK *sink, const SPEC *spec, int64_t value);

#endif
