/* What goes between the WinRM service and the launcher: words and strings in, lines out. */
#ifndef WIRE_H
#define WIRE_H

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

/* A request that is being taken apart; failed once something was missing. */
struct reader {
    const BYTE *at, *end;
    BOOL failed;
};

/* Takes standard input and output for the wire, and keeps the commands from inheriting them. */
void open_wire(void);

/* Writes one line; values says how many of the two numbers follow the word. Any thread may. */
void answer(const char *word, int values, DWORD first, DWORD second);

/* FALSE at the end of input. */
BOOL read_all(void *buffer, DWORD size);

DWORD read_word(struct reader *reader);

/* A copy with a null after it; NULL when it is empty, or the request is malformed. */
WCHAR *read_string(struct reader *reader);

void release_string(WCHAR *text);

#endif
