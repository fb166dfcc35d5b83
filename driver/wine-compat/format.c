/*
 * format.c - see format.h. What each conversion does is Microsoft's description of printf's format specification:
 *
 *   %s %c       text of the function's own width       %S %C         text of the other width
 *   %hs %hc     narrow, %hS %hC as well                %ls %ws %lc   wide, %lS %wS %lC as well
 *   %Z %hZ      ANSI_STRING                            %wZ %lZ       UNICODE_STRING; a precision does not cut them
 *   %p          16 digits on x64, 8 on x86, capital, without 0x
 *   %d %i %u %o %x %X with h, hh, l (32 bits), ll, I64, I32, I (as wide as a pointer), z, t, j
 *   a null pointer for text prints (null); %n stores nothing; any other letter stands for itself
 */
#include "format.h"

typedef enum { SIZE_NONE, SIZE_CHAR, SIZE_SHORT, SIZE_LONG, SIZE_WIDE, SIZE_32, SIZE_64, SIZE_POINTER } SIZE;

static int Is64(SIZE size)
{
    return size == SIZE_64 || (size == SIZE_POINTER && sizeof(void *) == 8);
}

/* The unit of a format, narrow or wide, at a place. */
static unsigned At(const char *narrow, const FORMAT_WIDE *wide, size_t place)
{
    return narrow != NULL ? (unsigned char)narrow[place] : wide[place];
}

static size_t ReadFlags(const char *narrow, const FORMAT_WIDE *wide, size_t at, SPEC *spec)
{
    for (;; at++) {
        switch (At(narrow, wide, at)) {
        case '-': spec->flags |= FLAG_LEFT; break;
        case '+': spec->flags |= FLAG_PLUS; break;
        case ' ': spec->flags |= FLAG_BLANK; break;
        case '#': spec->flags |= FLAG_ALTERNATE; break;
        case '0': spec->flags |= FLAG_ZERO; break;
        default: return at;
        }
    }
}

static size_t ReadNumber(const char *narrow, const FORMAT_WIDE *wide, size_t at, int *value)
{
    unsigned unit;

    *value = 0;
    while ((unit = At(narrow, wide, at)) >= '0' && unit <= '9') {
        if (*value < 100000000)
            *value = *value * 10 + (int)(unit - '0');
        at++;
    }
    return at;
}

static size_t ReadSize(const char *narrow, const FORMAT_WIDE *wide, size_t at, SIZE *size)
{
    for (;; at++) {
        switch (At(narrow, wide, at)) {
        case 'h': *size = *size == SIZE_SHORT ? SIZE_CHAR : SIZE_SHORT; break;
        case 'l': *size = *size == SIZE_LONG ? SIZE_64 : SIZE_LONG; break;
        case 'w': *size = SIZE_WIDE; break;
        case 'z': case 't': *size = SIZE_POINTER; break;
        case 'j': *size = SIZE_64; break;
        case 'L': break;
        case 'I':
            if (At(narrow, wide, at + 1) == '6' && At(narrow, wide, at + 2) == '4') {
                *size = SIZE_64;
                at += 2;
            } else if (At(narrow, wide, at + 1) == '3' && At(narrow, wide, at + 2) == '2') {
                *size = SIZE_32;
                at += 2;
            } else
                *size = SIZE_POINTER;
            break;
        default: return at;
        }
    }
}

/* va_list may be an array, which a function cannot hand back: this holds it. */
typedef struct {
    va_list list;
} ARGUMENTS;

static uint64_t TakeUnsigned(ARGUMENTS *arguments, SIZE size)
{
    uint32_t value;

    if (Is64(size))
        return va_arg(arguments->list, uint64_t);
    value = va_arg(arguments->list, uint32_t);
    return size == SIZE_SHORT ? (uint16_t)value : size == SIZE_CHAR ? (uint8_t)value : value;
}

static int64_t TakeSigned(ARGUMENTS *arguments, SIZE size)
{
    int32_t value;

    if (Is64(size))
        return va_arg(arguments->list, int64_t);
    value = va_arg(arguments->list, int32_t);
    return size == SIZE_SHORT ? (int16_t)value : size == SIZE_CHAR ? (int8_t)value : value;
}

/* Whether the text of a conversion is wide: a prefix says so, else the letter and the width of the format. */
static int IsWide(SIZE size, int natural)
{
    if (size == SIZE_LONG || size == SIZE_WIDE)
        return 1;
    return size == SIZE_SHORT ? 0 : natural;
}

/* One conversion; `at` is after flags, width, precision and size. Returns where the format goes on. */
static size_t Convert(SINK *sink, SPEC *spec, SIZE size, const char *narrow, const FORMAT_WIDE *wide, size_t at,
                      ARGUMENTS *arguments)
{
    unsigned letter = At(narrow, wide, at);
    uint64_t number;

    switch (letter) {
    case 0:
        return at;  /* a lone percent sign at the end prints nothing */
    case 'd': case 'i':
        PutSigned(sink, spec, TakeSigned(arguments, size));
        break;
    case 'u':
        PutNumber(sink, spec, TakeUnsigned(arguments, size), 10, 0, "");
        break;
    case 'o':
        number = TakeUnsigned(arguments, size);
        PutNumber(sink, spec, number, 8, 0, spec->flags & FLAG_ALTERNATE && number != 0 ? "0" : "");
        break;
    case 'x': case 'X':
        number = TakeUnsigned(arguments, size);
        PutNumber(sink, spec, number, 16, letter == 'X',
                  spec->flags & FLAG_ALTERNATE && number != 0 ? letter == 'X' ? "0X" : "0x" : "");
        break;
    case 'p':
        spec->precision = 2 * sizeof(void *);
        number = (uintptr_t)va_arg(arguments->list, void *);
        PutNumber(sink, spec, number, 16, 1, spec->flags & FLAG_ALTERNATE ? "0X" : "");
        break;
    case 'c':
        PutCharacter(sink, spec, IsWide(size, wide != NULL), va_arg(arguments->list, unsigned));
        break;
    case 'C':
        PutCharacter(sink, spec, IsWide(size, wide == NULL), va_arg(arguments->list, unsigned));
        break;
    case 's':
        PutString(sink, spec, IsWide(size, wide != NULL), va_arg(arguments->list, const void *));
        break;
    case 'S':
        PutString(sink, spec, IsWide(size, wide == NULL), va_arg(arguments->list, const void *));
        break;
    case 'Z':
        PutCounted(sink, spec, IsWide(size, 0), va_arg(arguments->list, const COUNTED *));
        break;
    case 'n':
        (void)va_arg(arguments->list, void *);
        break;
    default:
        PutUnit(sink, letter);
    }
    return at + 1;
}

static size_t TakeStar(const char *narrow, const FORMAT_WIDE *wide, size_t at, int *value, ARGUMENTS *arguments)
{
    if (At(narrow, wide, at) != '*')
        return ReadNumber(narrow, wide, at, value);
    *value = va_arg(arguments->list, int);
    return at + 1;
}

static size_t Format(SINK *sink, const char *narrow, const FORMAT_WIDE *wide, ARGUMENTS *arguments)
{
    size_t at = 0;
    unsigned unit;

    while ((unit = At(narrow, wide, at)) != 0) {
        SPEC spec = { 0, 0, NO_PRECISION };
        SIZE size = SIZE_NONE;

        at++;
        if (unit != '%') {
            PutUnit(sink, unit);
            continue;
        }
        at = TakeStar(narrow, wide, ReadFlags(narrow, wide, at, &spec), &spec.width, arguments);
        if (spec.width < 0) {
            spec.flags |= FLAG_LEFT;
            spec.width = spec.width < -100000000 ? 100000000 : -spec.width;
        }
        if (At(narrow, wide, at) == '.') {
            at = TakeStar(narrow, wide, at + 1, &spec.precision, arguments);
            if (spec.precision < 0)
                spec.precision = NO_PRECISION;
        }
        at = ReadSize(narrow, wide, at, &size);
        at = Convert(sink, &spec, size, narrow, wide, at, arguments);
    }
    return sink->count;
}

size_t FormatNarrowTelling(char *out, size_t room, const char *format, va_list list, int *unlike_nt)
{
    char nothing;
    SINK sink = { out != NULL ? out : &nothing, NULL, out != NULL ? room : 0, 0, 0 };
    ARGUMENTS arguments;
    size_t count;

    va_copy(arguments.list, list);
    count = Format(&sink, format, NULL, &arguments);
    va_end(arguments.list);
    *unlike_nt = sink.unlike_nt;
    return count;
}

size_t FormatNarrow(char *out, size_t room, const char *format, va_list list)
{
    int unlike_nt;

    return FormatNarrowTelling(out, room, format, list, &unlike_nt);
}

size_t FormatWide(FORMAT_WIDE *out, size_t room, const FORMAT_WIDE *format, va_list list)
{
    FORMAT_WIDE nothing;
    SINK sink = { NULL, out != NULL ? out : &nothing, out != NULL ? room : 0, 0, 0 };
    ARGUMENTS arguments;
    size_t count;

    va_copy(arguments.list, list);
    count = Format(&sink, NULL, format, &arguments);
    va_end(arguments.list);
    return count;
}

static int HasFloat(const char *narrow, const FORMAT_WIDE *wide)
{
    size_t at = 0;
    unsigned unit;
    SPEC spec = { 0, 0, NO_PRECISION };
    SIZE size = SIZE_NONE;

    while ((unit = At(narrow, wide, at)) != 0) {
        at++;
        if (unit != '%')
            continue;
        at = ReadFlags(narrow, wide, at, &spec);
        while ((unit = At(narrow, wide, at)) == '*' || unit == '.' || (unit >= '0' && unit <= '9'))
            at++;
        at = ReadSize(narrow, wide, at, &size);
        switch (At(narrow, wide, at)) {
        case 0: return 0;
        case 'e': case 'E': case 'f': case 'F': case 'g': case 'G': case 'a': case 'A': return 1;
        default: at++;
        }
    }
    return 0;
}

int FormatHasFloatNarrow(const char *format)
{
    return HasFloat(format, NULL);
}

int FormatHasFloatWide(const FORMAT_WIDE *format)
{
    return HasFloat(NULL, format);
}
