/*
 * fields.c - see fields.h.
 */
#include "fields.h"

#define MOST_DIGITS 24
#define REPLACEMENT 0xFFFD

/* A source of characters: narrow or wide, with an end. */
typedef struct {
    const unsigned char *narrow;
    const FORMAT_WIDE *wide;
    size_t length;
} TEXT;

void PutUnit(SINK *sink, unsigned unit)
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

static void PutNull(SINK *sink, const SPEC *spec, int precision)
{
    TEXT text = { (const unsigned char *)"(null)", NULL, 6 };

    if (precision >= 0 && precision < 6)
        text.length = (size_t)precision;
    PutPadded(sink, spec, &text);
}

void PutString(SINK *sink, const SPEC *spec, int wide, const void *string)
{
    TEXT text = { wide ? NULL : string, wide ? string : NULL, 0 };

    if (string == NULL) {
        PutNull(sink, spec, spec->precision);
        return;
    }
    while ((spec->precision < 0 || text.length < (size_t)spec->precision)
           && (wide ? text.wide[text.length] : text.narrow[text.length]) != 0)
        text.length++;
    PutPadded(sink, spec, &text);
}

void PutCounted(SINK *sink, const SPEC *spec, int wide, const COUNTED *string)
{
    TEXT text = { NULL, NULL, 0 };

    if (string == NULL || string->buffer == NULL) {
        PutNull(sink, spec, NO_PRECISION);
        return;
    }
    if (wide)
        text.wide = string->buffer;
    else
        text.narrow = string->buffer;
    text.length = wide ? string->length / sizeof(FORMAT_WIDE) : string->length;
    PutPadded(sink, spec, &text);
}

void PutCharacter(SINK *sink, const SPEC *spec, int wide, unsigned value)
{
    FORMAT_WIDE wide_character = (FORMAT_WIDE)value;
    unsigned char narrow_character = (unsigned char)value;
    TEXT text = { wide ? NULL : &narrow_character, wide ? &wide_character : NULL, 1 };

    PutPadded(sink, spec, &text);
}

void PutNumber(SINK *sink, const SPEC *spec, uint64_t value, unsigned base, int capital, const char *prefix)
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

void PutSigned(SINK *sink, const SPEC *spec, int64_t value)
{
    const char *sign = value < 0 ? "-" : spec->flags & FLAG_PLUS ? "+" : spec->flags & FLAG_BLANK ? " " : "";

    PutNumber(sink, spec, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, 0, sign);
}
