/*
 * text.c - texts that grow, and JSON strings in them.
 */
#include "text.h"

#include "../../common/strings.h"

BOOL Same(const char *a, const char *b)
{
    return Order(a, b) == 0;
}

void AddBytes(TEXT *text, const char *bytes, SIZE_T size)
{
    if (text->length + size > text->room) {
        SIZE_T room = (text->length + size) * 2 + 256;
        char *data = Take(room);

        Copy(data, text->data, text->length);
        if (text->data)
            Drop(text->data);
        text->data = data;
        text->room = room;
    }
    Copy(text->data + text->length, bytes, size);
    text->length += size;
}

void Add(TEXT *text, const char *string)
{
    AddBytes(text, string, Length(string));
}

void AddNumber(TEXT *text, ULONGLONG value)
{
    char digits[21];

    Add(text, Digits(value, digits + sizeof(digits)));
}

void AddHex(TEXT *text, const BYTE *bytes, SIZE_T size)
{
    static const char digits[] = "0123456789abcdef";
    SIZE_T i;

    for (i = 0; i < size; i++) {
        char pair[2];

        pair[0] = digits[bytes[i] >> 4];
        pair[1] = digits[bytes[i] & 15];
        AddBytes(text, pair, 2);
    }
}

/* Bytes of the UTF-8 character that starts here; 0 when there is none. */
static SIZE_T CharacterSize(const BYTE *at, SIZE_T left)
{
    SIZE_T size, i;

    if (at[0] < 0x80)
        return 1;
    if (at[0] >= 0xC2 && at[0] <= 0xDF)
        size = 2;
    else if ((at[0] & 0xF0) == 0xE0)
        size = 3;
    else if (at[0] >= 0xF0 && at[0] <= 0xF4)
        size = 4;
    else
        return 0;
    if (size > left)
        return 0;
    for (i = 1; i < size; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    if ((at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xED && at[1] > 0x9F)     /* too long; a surrogate */
        || (at[0] == 0xF0 && at[1] < 0x90) || (at[0] == 0xF4 && at[1] > 0x8F)) /* too long; beyond Unicode */
        return 0;
    return size;
}

/* Characters that some readers take for the end of a line: U+0080 to U+009F, U+2028, U+2029. */
static BOOL BreaksLine(const BYTE *at, SIZE_T size)
{
    if (size == 2)
        return at[0] == 0xC2 && at[1] < 0xA0;
    return size == 3 && at[0] == 0xE2 && at[1] == 0x80 && (at[2] == 0xA8 || at[2] == 0xA9);
}

void AddString(TEXT *text, const BYTE *bytes, SIZE_T size)
{
    SIZE_T at = 0;

    Add(text, "\"");
    while (at < size) {
        SIZE_T step = CharacterSize(bytes + at, size - at);

        if (step == 0) {
            Add(text, "\\ufffd");
            step = 1;
        } else if (step == 1 && bytes[at] < 0x20) {
            Add(text, "\\u00");
            AddHex(text, bytes + at, 1);
        } else if (BreaksLine(bytes + at, step)) {
            Add(text, step == 2 ? "\\u00" : bytes[at + 2] == 0xA8 ? "\\u2028" : "\\u2029");
            AddHex(text, bytes + at + 1, step == 2);
        } else {
            if (bytes[at] == '"' || bytes[at] == '\\')
                Add(text, "\\");
            AddBytes(text, (const char *)bytes + at, step);
        }
        at += step;
    }
    Add(text, "\"");
}

void AddWord(TEXT *text, const char *word)
{
    if (word)
        AddString(text, (const BYTE *)word, Length(word));
    else
        Add(text, "null");
}
