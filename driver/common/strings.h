/*
 * strings.h - texts that end with a zero, and numbers as digits. Nothing here can fail.
 */
#ifndef LAB_LABFILE_STRINGS_H
#define LAB_LABFILE_STRINGS_H

#include "base.h"

SIZE_T Length(const char *text);
SIZE_T WideLength(const WCHAR *text);
BOOL StartsWith(const char *text, const char *start);

/* By their bytes: below, equal to or above zero, as strcmp says it. */
int Order(const char *a, const char *b);

/* A number in decimal, with its zero in front of `end`; 21 bytes are enough. Returns where it begins. */
char *Digits(U64 value, char *end);

#endif
