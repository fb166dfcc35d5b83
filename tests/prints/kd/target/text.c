/* text.c - formatted text, the report on COM2, and the options of the command line. */
#include <stdarg.h>

#include "target.h"

static char options[512];

size_t Length(const char *text)
{
    size_t length = 0;
    while (text[length]) {
        length++;
    }
    return length;
}

static int Digits(char *to, uint32_t value, uint32_t base, int width)
{
    char backwards[12];
    int count = 0;

    do {
        backwards[count++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    while (count < width && count < (int)sizeof(backwards)) {
        backwards[count++] = '0';
    }
    for (int i = 0; i < count; i++) {
        to[i] = backwards[count - 1 - i];
    }
    return count;
}

static int FormatList(char *to, size_t room, const char *format, va_list arguments)
{
    char number[12];
    size_t used = 0;

    while (*format) {
        const char *piece = format;
        size_t length = 1;
        if (*format == '%') {
            int width = 0;
            while (*++format >= '0' && *format <= '9') {
                width = width * 10 + *format - '0';
            }
            if (*format == 's') {
                piece = va_arg(arguments, const char *);
                length = Length(piece);
            } else if (*format == 'u' || *format == 'x') {
                piece = number;
                length = (size_t)Digits(number, va_arg(arguments, uint32_t), *format == 'u' ? 10 : 16, width);
            } else {
                piece = format;
            }
        }
        format++;
        for (size_t i = 0; i < length && used + 1 < room; i++) {
            to[used++] = piece[i];
        }
    }
    to[used] = 0;
    return (int)used;
}

int Format(char *to, size_t room, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int used = FormatList(to, room, format, arguments);
    va_end(arguments);
    return used;
}

void Report(const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    FormatList(line, sizeof(line), format, arguments);
    va_end(arguments);
    for (const char *at = line; *at; at++) {
        SerialPut(COM2, (uint8_t)*at);
    }
    SerialPut(COM2, '\n');
}

void OptionsAre(const char *command_line)
{
    Format(options, sizeof(options), "%s", command_line);
}

/* The text behind "name=", or NULL. */
static const char *Find(const char *name)
{
    const char *at = options;
    while (*at) {
        size_t i = 0;
        while (name[i] && at[i] == name[i]) {
            i++;
        }
        if (!name[i] && at[i] == '=') {
            return at + i + 1;
        }
        while (*at && *at != ' ') {
            at++;
        }
        while (*at == ' ') {
            at++;
        }
    }
    return NULL;
}

uint32_t Option(const char *name, uint32_t otherwise)
{
    const char *at = Find(name);
    uint32_t value = 0;

    if (!at) {
        return otherwise;
    }
    for (; *at >= '0' && *at <= '9'; at++) {
        value = value * 10 + (uint32_t)(*at - '0');
    }
    return value;
}

int OptionIs(const char *name, const char *value)
{
    const char *at = Find(name);
    if (!at) {
        return 0;
    }
    while (*value && *at == *value) {
        at++;
        value++;
    }
    return !*value && (*at == ' ' || !*at);
}
