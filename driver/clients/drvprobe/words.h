/*
 * words.h - a script's text: operations, their words, and numbers and bytes in them.
 */
#ifndef LAB_DRVPROBE_WORDS_H
#define LAB_DRVPROBE_WORDS_H

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#define MAX_WORDS 16

/* One operation. What stands in double quotes may hold blanks and semicolons; the marks themselves are gone. */
typedef struct _WORDS {
    const char *text;         /* as written, without its comment */
    int count;                /* MAX_WORDS + 1: there are more than that */
    char *word[MAX_WORDS];
    BOOL quoted[MAX_WORDS];   /* begins with a quotation mark: no option, whatever is in it */
    BOOL open;                /* a quotation mark is not closed on its line */
} WORDS;

/* Cut the next operation of a script into words, in place. FALSE: there is none any more. */
BOOL NextWords(char **script, WORDS *words);

/* What separates words. */
BOOL Blank(char c);

/* Decimal or 0x…, or hexadecimal where base is 16; at most 32 bits. FALSE: it is none. */
BOOL ParseNumber(const char *word, DWORD base, DWORD *value);

/* Two hexadecimal digits for each byte, which take the digits' place. FALSE: they are none. */
BOOL ParseHex(char *word, DWORD *size);

#endif
