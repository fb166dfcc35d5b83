/*
 * text.h - texts that grow, and JSON strings in them.
 */
#ifndef LAB_DRVPROBE_TEXT_H
#define LAB_DRVPROBE_TEXT_H

#include "../../common/memory.h"

typedef struct _TEXT {
    char *data;            /* no zero at its end */
    SIZE_T length, room;
} TEXT;

BOOL Same(const char *a, const char *b);  /* to the byte */

void AddBytes(TEXT *text, const char *bytes, SIZE_T size);
void Add(TEXT *text, const char *string);
void AddNumber(TEXT *text, ULONGLONG value);                     /* decimal */
void AddHex(TEXT *text, const BYTE *bytes, SIZE_T size);         /* two digits each */

/* A JSON string of UTF-8 bytes; each byte that is not UTF-8 becomes U+FFFD. */
void AddString(TEXT *text, const BYTE *bytes, SIZE_T size);
void AddWord(TEXT *text, const char *word);                      /* the same up to the zero; null for NULL */

#endif
