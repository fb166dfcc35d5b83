/*
 * words.c - a script's text: operations, their words, and numbers and bytes in them.
 */
#include "words.h"

#include "held.h"

BOOL Blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The end of the operation that begins here: a semicolon, a line's end, a comment, the script's end. */
static char *End(char *at, BOOL *open)
{
    char *begin = at;
    BOOL quoted = FALSE;

    for (; *at && *at != '\n' && (quoted || *at != ';'); at++) {
        if (*at == '"')
            quoted = !quoted;
        else if (*at == '#' && !quoted && (at == begin || Blank(at[-1])))
            break;
    }
    *open = quoted;
    return at;
}

static const char *Written(const char *begin, const char *end)
{
    SIZE_T size;
    char *text;

    while (end > begin && Blank(end[-1]))
        end--;
    size = (SIZE_T)(end - begin);
    text = Hold(size + 1);
    Copy(text, begin, size);
    return text;
}

BOOL NextWords(char **script, WORDS *words)
{
    char *at = *script, *end, stop;

    for (;;) {
        while (*at == ';' || *at == '\n' || Blank(*at))
            at++;
        if (*at != '#')
            break;
        while (*at && *at != '\n')
            at++;
    }
    if (!*at)
        return FALSE;

    end = End(at, &words->open);
    words->text = Written(at, end);
    words->count = 0;
    stop = *end;  /* the last word's zero may take its place */
    while (at < end && words->count <= MAX_WORDS) {
        BOOL quoted = FALSE;
        char *to = at;

        if (words->count < MAX_WORDS) {
            words->word[words->count] = at;
            words->quoted[words->count] = *at == '"';
        }
        words->count++;
        for (; at < end && (quoted || !Blank(*at)); at++) {
            if (*at == '"')
                quoted = !quoted;
            else
                *to++ = *at;
        }
        while (at < end && Blank(*at))
            at++;
        *to = 0;
    }
    *script = stop ? end + 1 : end;
    while (stop == '#' && **script && **script != '\n')
        (*script)++;
    return TRUE;
}

static int Digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

BOOL ParseNumber(const char *word, DWORD base, DWORD *value)
{
    ULONGLONG sum = 0;

    if (word[0] == '0' && (word[1] == 'x' || word[1] == 'X')) {
        base = 16;
        word += 2;
    }
    if (!*word)
        return FALSE;
    for (; *word; word++) {
        int digit = Digit(*word);

        if (digit < 0 || (DWORD)digit >= base)
            return FALSE;
        sum = sum * base + (DWORD)digit;
        if (sum > 0xFFFFFFFF)
            return FALSE;
    }
    *value = (DWORD)sum;
    return TRUE;
}

BOOL ParseHex(char *word, DWORD *size)
{
    BYTE *to = (BYTE *)word;
    const char *from = word;

    while (*from) {
        int high = Digit(from[0]), low = high < 0 ? -1 : Digit(from[1]);

        if (low < 0)
            return FALSE;
        *to++ = (BYTE)(high << 4 | low);
        from += 2;
    }
    *size = (DWORD)(to - (BYTE *)word);
    return TRUE;
}
