/*
 * format.h - printf as the NT kernel has it: counted strings (%Z, %wZ), wide text in narrow formats and the other way round.
 *
 * Pure: no kernel, no C library, no state. The lab's tests compile it for the host as well.
 */
#ifndef LAB_FORMAT_H
#define LAB_FORMAT_H

#include <stdarg.h>

#include "fields.h"

/*
 * Writes at most `room` characters, without a terminating zero, and returns how many the whole text has.
 * Wide text goes into narrow text as UTF-8, and comes out of it as UTF-8; a byte that is none stands for itself.
 */
size_t FormatNarrow(char *out, size_t room, const char *format, va_list arguments);
size_t FormatWide(FORMAT_WIDE *out, size_t room, const FORMAT_WIDE *format, va_list arguments);

/* The same; *unlike_nt is set where the text is another than NT's would be: wide text beyond ASCII came out as UTF-8. */
size_t FormatNarrowTelling(char *out, size_t room, const char *format, va_list arguments, int *unlike_nt);

/* Whether a format has a floating-point conversion: those are left to the caller. */
int FormatHasFloatNarrow(const char *format);
int FormatHasFloatWide(const FORMAT_WIDE *format);

#endif
