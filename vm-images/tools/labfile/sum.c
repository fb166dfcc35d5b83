/*
 * sum.c - sum lines: SHA-256, two blanks, size, two blanks, path.
 */
#include "sum.h"

#include "streams.h"
#include "text.h"
#include "walk.h"

void PrintSum(SHA256 *hash, const char *name)
{
    char text[65], digits[24];
    char *line, *size;

    size = Digits(hash->size, digits + sizeof(digits));
    HashEnd(hash, text);
    line = JoinUtf8(text, "  ", size);
    size = JoinUtf8(line, "  ", name);
    Drop(line);
    line = JoinUtf8(size, "\n", "");
    Output(line, Length(line));
    Drop(size);
    Drop(line);
}

void Sum(const WCHAR *path)
{
    ENTRIES entries = {0};
    SIZE_T i;

    List(&entries, path, ToUtf8(path));
    for (i = 0; i < entries.count; i++) {
        ENTRY *entry = &entries.items[i];
        SHA256 hash;
        HANDLE file;
        DWORD got;

        if (entry->folder)
            continue;
        file = OpenForReading(entry->path, entry->name);
        HashStart(&hash);
        while ((got = ReadSome(file, Buffer, BUFFER_SIZE, entry->name)) != 0)
            HashAdd(&hash, Buffer, got);
        CloseHandle(file);
        PrintSum(&hash, entry->name);
    }
}
