/*
 * console.h - lines of a program that uses kernel32 alone, on its standard streams.
 *
 * The one source of the program includes it and defines Main(): see program.h.
 */
#ifndef LAB_COMMON_CONSOLE_H
#define LAB_COMMON_CONSOLE_H

#include "program.h"

typedef struct _LINE {
    char text[512];
    DWORD length;
} LINE;

/* What does not fit is left out. */
static __inline void Add(LINE *line, const char *text)
{
    while (*text && line->length < sizeof(line->text))
        line->text[line->length++] = *text++;
}

static __inline void AddNumber(LINE *line, DWORD value)
{
    char digits[11];
    int at = sizeof(digits) - 1;

    digits[at] = 0;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    Add(line, digits + at);
}

/* `stream` is STD_OUTPUT_HANDLE or STD_ERROR_HANDLE. */
static __inline void Put(const LINE *line, DWORD stream)
{
    DWORD written;

    WriteFile(GetStdHandle(stream), line->text, line->length, &written, NULL);
}

/* A line on standard error; returns what the program ends with. */
static __inline int Fail(const char *program, const char *what, DWORD error)
{
    LINE line;

    line.length = 0;
    Add(&line, program);
    Add(&line, ": ");
    Add(&line, what);
    Add(&line, ": Win32 error ");
    AddNumber(&line, error);
    Add(&line, "\n");
    Put(&line, STD_ERROR_HANDLE);
    return (int)(error ? error : ERROR_GEN_FAILURE);
}

#endif
