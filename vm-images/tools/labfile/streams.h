/*
 * streams.h - standard input, output and error, and the end of the program with an error.
 */
#ifndef LAB_LABFILE_STREAMS_H
#define LAB_LABFILE_STREAMS_H

#include "base.h"

#define BUFFER_SIZE 65536

/* For the copy that is under way; there is one at a time. */
extern U8 Buffer[BUFFER_SIZE];

/* A line on standard error, and the end with `error`. `name` may be NULL. */
DECLSPEC_NORETURN void Fail(const char *what, const char *name, DWORD error);

void Output(const void *data, SIZE_T size);

/* Bytes of standard input, fewer than `size` only at its end. */
DWORD Input(void *data, DWORD size);

/* Bytes read, at most `size`; 0 at the end. A pipe whose writer is gone is at its end. */
DWORD ReadSome(HANDLE file, void *data, DWORD size, const char *name);

HANDLE OpenForReading(const WCHAR *path, const char *name);

#endif
