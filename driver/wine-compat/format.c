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

#define FLAG_LEFT 1
#define FLAG_PLUS 2
#define FLAG_BLANK 4
#define FLAG_ALTERNATE 8
#define FLAG_ZERO 16
#define NO_PRECISION (-1)
#define MOST_DIGITS 24
#define REPLACEMENT 0xFFFD

typedef enum { SIZE_NONE, SIZE_CHAR, SIZE_SHORT, SIZE_LONG, SIZE_WIDE, SIZE_32, SIZE_64, SIZE_POINTER } SIZE;

typedef struct {
    char *narrow;           /* one of the two is where the text goes */
    FORMAT_WIDE *wide;
    size_t room;
    size_t count;           /* of the whole text */
    int unlike_nt;          /* wide text beyond ASCII went into narrow text */
} SINK;

typedef struct {
    unsigned flags;
    int width;
    int precision;
    SIZE size;
} SPEC;

/* ANSI_STRING and UNICODE_STRING: lengths in bytes. */
typedef struct {
    uint16_t length;
    uint16_t maximum;
    const void *buffer;
} COUNTED;

/* A source of characters: narrow or wide, with an end. */
typedef struct {
    const unsigned char *narrow;
    const FORMAT_WIDE *wide;
    size_t length;
} TEXT;

static void PutUnit(SINK *sink, unsigned unit)
{
    if (sink->count < sink->room) {
        if (sink->narrow != NULL)
            sink->narrow[sink->count] = (char)unit;
        else
            sink->wide[sink->count] = (FORMAT_WIDE)unit;
    }
    sink->count++;
}

/* A character of another width. */
static void PutCodePoint(SINK *sink, uint32_t code)
{
    if (sink->narrow == NULL) {
        if (code >= 0x10000) {
            PutUnit(sink, 0xD800 + ((code - 0x10000) >> 10));
            PutUnit(sink, 0xDC00 + ((code - 0x10000) & 0x3FF));
        } else
            PutUnit(sink, code);
        return;
    }
    sink->unlike_nt |= code >= 0x80;
    if (code < 0x80) {
        PutUnit(sink, code);
    } else if (code < 0x800) {
        PutUnit(sink, 0xC0 | code >> 6);
        PutUnit(sink, 0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        PutUnit(sink, 0xE0 | code >> 12);
        PutUnit(sink, 0x80 | (code >> 6 & 0x3F));
        PutUnit(sink, 0x80 | (code & 0x3F));
    } else {
        PutUnit(sink, 0xF0 | code >> 18);
        PutUnit(sink, 0x80 | (code >> 12 & 0x3F));
        PutUnit(sink, 0x80 | (code >> 6 & 0x3F));
        PutUnit(sink, 0x80 | (code & 0x3F));
    }
}

/* As many as a width asks for, which may be millions: what does not fit is counted, not looped over. */
static void Pad(SINK *sink, unsigned unit, int count)
{
    while (count > 0 && sink->count < sink->room) {
        PutUnit(sink, unit);
        count--;
    }
    if (count > 0)
        sink->count += (size_t)count;
}

/* The next character of wide text, and how many units it took. */
static uint32_t NextWide(const FORMAT_WIDE *text, size_t left, size_t *taken)
{
    uint32_t first = text[0];

    *taken = 1;
    if (first < 0xD800 || first > 0xDFFF)
        return first;
    if (first < 0xDC00 && left > 1 && text[1] >= 0xDC00 && text[1] <= 0xDFFF) {
        *taken = 2;
        return 0x10000 + ((first - 0xD800) << 10) + (text[1] - 0xDC00u);
    }
    return REPLACEMENT;
}

/* The next character of UTF-8, and how many bytes it took; a byte that belongs to none stands for itself. */
static uint32_t NextNarrow(const unsigned char *text, size_t left, size_t *taken)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    uint32_t code;
    size_t length, index;

    *taken = 1;
    if (text[0] < 0xC2 || text[0] > 0xF4)
        return text[0];
    length = text[0] < 0xE0 ? 2 : text[0] < 0xF0 ? 3 : 4;
    if (length > left)
        return text[0];
    code = text[0] & (0x7Fu >> length);
    for (index = 1; index < length; index++) {
        if ((text[index] & 0xC0) != 0x80)
            return text[0];
        code = code << 6 | (text[index] & 0x3Fu);
    }
    if (code < least[length] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return text[0];
    *taken = length;
    return code;
}

static void PutText(SINK *sink, const TEXT *text)
{
    size_t index = 0, taken = 1;

    for (; index < text->length; index += taken) {
        taken = 1;
        if (sink->count >= sink->room && (sink->narrow != NULL) == (text->narrow != NULL)) {
            sink->count += text->length - index;
            return;
        }
        if (text->wide != NULL && sink->narrow != NULL)
            PutCodePoint(sink, NextWide(text->wide + index, text->length - index, &taken));
        else if (text->narrow != NULL && sink->narrow == NULL)
            PutCodePoint(sink, NextNarrow(text->narrow + index, text->length - index, &taken));
        else
            PutUnit(sink, text->narrow != NULL ? text->narrow[index] : text->wide[index]);
    }
}

/* How many characters a text has in the output: what a width is compared with. */
static size_t Measure(const SINK *sink, const TEXT *text)
{
    char nothing;
    FORMAT_WIDE wide_nothing;
    SINK measure = { sink->narrow != NULL ? &nothing : NULL, sink->narrow != NULL ? NULL : &wide_nothing, 0, 0, 0 };

    PutText(&measure, text);
    return measure.count;
}

static void PutPadded(SINK *sink, const SPEC *spec, const TEXT *text)
{
    size_t length = spec->width > 0 ? Measure(sink, text) : 0;
    int missing = (size_t)spec->width > length && spec->width > 0 ? spec->width - (int)length : 0;

    if (!(spec->flags & FLAG_LEFT))
        Pad(sink, spec->flags & FLAG_ZERO ? '0' : ' ', missing);
    PutText(sink, text);
    if (spec->flags & FLAG_LEFT)
        Pad(sink, ' ', missing);
}

static void PutNull(SINK *sink, SPEC *spec)
{
    TEXT text = { (const unsigned char *)"(null)", NULL, 6 };

    if (spec->precision >= 0 && spec->precision < 6)
        text.length = (size_t)spec->precision;
    PutPadded(sink, spec, &text);
}

static void PutString(SINK *sink, SPEC *spec, int wide, const void *string)
{
    TEXT text = { wide ? NULL : string, wide ? string : NULL, 0 };

    if (string == NULL) {
        PutNull(sink, spec);
        return;
    }
    while ((spec->precision < 0 || text.length < (size_t)spec->precision)
           && (wide ? text.wide[text.length] : text.narrow[text.length]) != 0)
        text.length++;
    PutPadded(sink, spec, &text);
}

static void PutCounted(SINK *sink, SPEC *spec, int wide, const COUNTED *string)
{
    TEXT text = { NULL, NULL, 0 };

    spec->precision = NO_PRECISION;
    if (string == NULL || string->buffer == NULL) {
        PutNull(sink, spec);
        return;
    }
    if (wide)
        text.wide = string->buffer;
    else
        text.narrow = string->buffer;
    text.length = wide ? string->length / sizeof(FORMAT_WIDE) : string->length;
    PutPadded(sink, spec, &text);
}

static void PutCharacter(SINK *sink, SPEC *spec, int wide, unsigned value)
{
    FORMAT_WIDE wide_character = (FORMAT_WIDE)value;
    unsigned char narrow_character = (unsigned char)value;
    TEXT text = { wide ? NULL : &narrow_character, wide ? &wide_character : NULL, 1 };

    PutPadded(sink, spec, &text);
}

static void PutNumber(SINK *sink, const SPEC *spec, uint64_t value, unsigned base, int capital, const char *prefix)
{
    const char *digits = capital ? "0123456789ABCDEF" : "0123456789abcdef";
    char text[MOST_DIGITS];
    int count = 0, zeros = 0, signs = 0, missing;

    for (; value != 0; value /= base)
        text[count++] = digits[value % base];
    if (spec->precision == NO_PRECISION && count == 0)
        text[count++] = '0';
    while (prefix[signs] != 0)
        signs++;
    if (spec->precision > count)
        zeros = spec->precision - count;
    else if (spec->precision == NO_PRECISION && (spec->flags & FLAG_ZERO) && !(spec->flags & FLAG_LEFT)
             && spec->width > count + signs)
        zeros = spec->width - count - signs;
    missing = spec->width > count + signs + zeros ? spec->width - count - signs - zeros : 0;

    if (!(spec->flags & FLAG_LEFT))
        Pad(sink, ' ', missing);
    while (*prefix != 0)
        PutUnit(sink, (unsigned char)*prefix++);
    Pad(sink, '0', zeros);
    while (count > 0)
        PutUnit(sink, (unsigned char)text[--count]);
    if (spec->flags & FLAG_LEFT)
        Pad(sink, ' ', missing);
}

static int Is64(SIZE size)
{
    return size == SIZE_64 || (size == SIZE_POINTER && sizeof(void *) == 8);
}

static void PutSigned(SINK *sink, const SPEC *spec, int64_t value)
{
    const char *sign = value < 0 ? "-" : spec->flags & FLAG_PLUS ? "+" : spec->flags & FLAG_BLANK ? " " : "";

    PutNumber(sink, spec, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, 0, sign);
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

/* One conversion; `at` is behind flags, width, precision and size. Returns where the format goes on. */
static size_t Convert(SINK *sink, SPEC *spec, const char *narrow, const FORMAT_WIDE *wide, size_t at, ARGUMENTS *arguments)
{
    unsigned letter = At(narrow, wide, at);
    uint64_t number;

    switch (letter) {
    case 0:
        return at;  /* a lone percent sign at the end prints nothing */
    case 'd': case 'i':
        PutSigned(sink, spec, TakeSigned(arguments, spec->size));
        break;
    case 'u':
        PutNumber(sink, spec, TakeUnsigned(arguments, spec->size), 10, 0, "");
        break;
    case 'o':
        number = TakeUnsigned(arguments, spec->size);
        PutNumber(sink, spec, number, 8, 0, spec->flags & FLAG_ALTERNATE && number != 0 ? "0" : "");
        break;
    case 'x': case 'X':
        number = TakeUnsigned(arguments, spec->size);
        PutNumber(sink, spec, number, 16, letter == 'X',
                  spec->flags & FLAG_ALTERNATE && number != 0 ? letter == 'X' ? "0X" : "0x" : "");
        break;
    case 'p':
        spec->precision = 2 * sizeof(void *);
        number = (uintptr_t)va_arg(arguments->list, void *);
        PutNumber(sink, spec, number, 16, 1, spec->flags & FLAG_ALTERNATE ? "0X" : "");
        break;
    case 'c':
        PutCharacter(sink, spec, IsWide(spec->size, wide != NULL), va_arg(arguments->list, unsigned));
        break;
    case 'C':
        PutCharacter(sink, spec, IsWide(spec->size, wide == NULL), va_arg(arguments->list, unsigned));
        break;
    case 's':
        PutString(sink, spec, IsWide(spec->size, wide != NULL), va_arg(arguments->list, const void *));
        break;
    case 'S':
        PutString(sink, spec, IsWide(spec->size, wide == NULL), va_arg(arguments->list, const void *));
        break;
    case 'Z':
        PutCounted(sink, spec, IsWide(spec->size, 0), va_arg(arguments->list, const COUNTED *));
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
        SPEC spec = { 0, 0, NO_PRECISION, SIZE_NONE };

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
        at = Convert(sink, &spec, narrow, wide, ReadSize(narrow, wide, at, &spec.size), arguments);
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
    SPEC spec = { 0, 0, NO_PRECISION, SIZE_NONE };

    while ((unit = At(narrow, wide, at)) != 0) {
        at++;
        if (unit != '%')
            continue;
        at = ReadFlags(narrow, wide, at, &spec);
        while ((unit = At(narrow, wide, at)) == '*' || unit == '.' || (unit >= '0' && unit <= '9'))
            at++;
        at = ReadSize(narrow, wide, at, &spec.size);
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
