/* The formatter with `...`, as ctypes can call it. */
#include "format.h"

size_t narrow(char *out, size_t room, const char *format, ...)
{
    va_list arguments;
    size_t count;

    va_start(arguments, format);
    count = FormatNarrow(out, room, format, arguments);
    va_end(arguments);
    return count;
}

int unlike_nt(const char *format, ...)
{
    char out[600];
    va_list arguments;
    int unlike;

    va_start(arguments, format);
    FormatNarrowTelling(out, sizeof(out), format, arguments, &unlike);
    va_end(arguments);
    return unlike;
}

size_t wide(FORMAT_WIDE *out, size_t room, const FORMAT_WIDE *format, ...)
{
    va_list arguments;
    size_t count;

    va_start(arguments, format);
    count = FormatWide(out, room, format, arguments);
    va_end(arguments);
    return count;
}
