/*
 * strings.c - texts that end with a zero, and numbers as digits, without a C run-time library.
 */
#include "strings.h"

#include "memory.h"

SIZE_T Length(const char *text)
{
    SIZE_T length = 0;

    while (text[length])
        length++;
    return length;
}

SIZE_T WideLength(const WCHAR *text)
{
    SIZE_T length = 0;

    while (text[length])
        length++;
    return length;
}

BOOL StartsWith(const char *text, const char *start)
{
    while (*start && *text == *start) {
        text++;
        start++;
    }
    return !*start;
}

int Order(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return (int)(BYTE)*a - (int)(BYTE)*b;
}

char *Digits(ULONGLONG value, char *end)
{
    *--end = 0;
    do {
        *--end = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    return end;
}

char *ToUtf8(const WCHAR *wide)
{
    int size = WideCharToMultiByte(CP_UTF8, 0, wide, -1, NULL, 0, NULL, NULL);
    char *text = Take((SIZE_T)size + 1);

    WideCharToMultiByte(CP_UTF8, 0, wide, -1, text, size, NULL, NULL);
    return text;
}
