/*
 * tar.c - writes a pax stream.
 */
#include "pax.h"

#include "streams.h"
#include "text.h"
#include "walk.h"

static void PutHeader(const char *name, char type, U64 size, U64 seconds)
{
    U8 header[BLOCK] = {0};
    SIZE_T length = Length(name), i;

    /* A reader that knows pax takes the name from the record before this; the field holds what fits, in ASCII. */
    for (i = 0; i < length && i < NAME_SIZE - 1; i++)
        header[AT_NAME + i] = (U8)name[i] < 0x80 ? (U8)name[i] : '_';
    PutOctal(header + AT_MODE, 7, type == '5' ? 0755 : 0644);
    PutOctal(header + AT_UID, 7, 0);
    PutOctal(header + AT_GID, 7, 0);
    PutOctal(header + AT_SIZE, 11, size < OCTAL_LIMIT ? size : 0);
    PutOctal(header + AT_MTIME, 11, seconds < OCTAL_LIMIT ? seconds : 0);
    header[AT_TYPE] = (U8)type;
    Copy(header + AT_MAGIC, "ustar\00000", 8);
    PutOctal(header + AT_CHECKSUM, 6, HeaderSum(header));
    header[AT_CHECKSUM + 7] = ' ';
    Output(header, BLOCK);
}

static void PutPadding(U64 size)
{
    static const U8 zeros[BLOCK];

    if (size % BLOCK)
        Output(zeros, (SIZE_T)(BLOCK - size % BLOCK));
}

/* One pax record: its own length, which counts itself, a blank, KEY=VALUE, a newline. */
static char *PaxRecord(const char *key, const char *value)
{
    SIZE_T rest = Length(key) + Length(value) + 3, all = rest + 1, again;
    char digits[24], *number, *head, *middle, *record;

    for (;;) {
        number = Digits(all, digits + sizeof(digits));
        again = rest + Length(number);
        if (again == all)
            break;
        all = again;
    }
    head = JoinUtf8(number, " ", key);
    middle = JoinUtf8(head, "=", value);
    record = JoinUtf8(middle, "\n", "");
    Drop(head);
    Drop(middle);
    return record;
}

static void PutEntry(const char *name, BOOL folder, U64 size, FILETIME written)
{
    U64 ticks = (U64)written.dwHighDateTime << 32 | written.dwLowDateTime;
    U64 seconds = ticks / 10000000 > 11644473600 ? ticks / 10000000 - 11644473600 : 0;  /* 1601 to 1970 */
    BOOL plain = Length(name) < NAME_SIZE;
    char *records, digits[24];
    SIZE_T i;

    for (i = 0; name[i]; i++)
        plain = plain && (U8)name[i] < 0x80;
    if (!plain || size >= OCTAL_LIMIT) {
        records = plain ? JoinUtf8("", "", "") : PaxRecord("path", name);
        if (size >= OCTAL_LIMIT) {
            char *number = PaxRecord("size", Digits(size, digits + sizeof(digits)));
            char *both = JoinUtf8(records, number, "");

            Drop(number);
            Drop(records);
            records = both;
        }
        PutHeader("pax", 'x', Length(records), seconds);
        Output(records, Length(records));
        PutPadding(Length(records));
        Drop(records);
    }
    PutHeader(name, folder ? '5' : '0', size, seconds);
}

static void PutFile(const ENTRY *entry)
{
    HANDLE file = OpenForReading(entry->path, entry->name);
    U64 left = entry->size;

    PutEntry(entry->name, FALSE, entry->size, entry->written);
    while (left) {
        DWORD part = left < BUFFER_SIZE ? (DWORD)left : BUFFER_SIZE;
        DWORD got = ReadSome(file, Buffer, part, entry->name);

        if (got == 0)  /* the header has promised more */
            Fail("became shorter while it was read", entry->name, ERROR_HANDLE_EOF);
        Output(Buffer, got);
        left -= got;
    }
    PutPadding(entry->size);
    CloseHandle(file);
}

void Tar(const WCHAR *path)
{
    static const U8 zeros[2 * BLOCK];
    WCHAR *full = FullPath(path);
    SIZE_T base = WideLength(full), i;
    ENTRIES entries = {0};

    while (base && full[base - 1] != '\\')
        base--;
    List(&entries, path, ToUtf8(full + base));
    for (i = 0; i < entries.count; i++) {
        ENTRY *entry = &entries.items[i];

        if (entry->folder) {
            char *name = JoinUtf8(entry->name, "/", "");

            PutEntry(name, TRUE, 0, entry->written);
            Drop(name);
        } else {
            PutFile(entry);
        }
    }
    Output(zeros, sizeof(zeros));
}
