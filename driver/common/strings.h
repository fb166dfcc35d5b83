/*
 * strings.h - texts that end with a zero, and numbers as digits, without a C run-time library.
 */
#ifndef LAB_COMMON_STRINGS_H
#define LAB_COMMON_STRINGS_H

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

SIZE_T Length(const char *text);
SIZE_T WideLength(const WCHAR *text);
BOOL StartsWith(const char *text, const char *start);

/* By their bytes: below, equal to or above zero, as strcmp says it. */
int Order(const char *a, const char *b);

/* A number in decimal, with its zero in front of `end`; 21 bytes are enough. Returns where it begins. */
char *Digits(ULONGLONG value, char *end);

/* New, for Drop. */
char *ToUtf8(const WCHAR *wide);

#endif
