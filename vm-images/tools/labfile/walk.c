/*
 * walk.c - what is in a folder and below it.
 */
#include "walk.h"

#include "streams.h"
#include "text.h"

static void Append(ENTRIES *entries, const ENTRY *entry)
{
    if (entries->count == entries->room) {
        SIZE_T room = entries->room * 2 + 64;
        ENTRY *items = Take(room * sizeof(ENTRY));

        Copy(items, entries->items, entries->count * sizeof(ENTRY));
        if (entries->items)
            Drop(entries->items);
        entries->items = items;
        entries->room = room;
    }
    entries->items[entries->count++] = *entry;
}

static BOOL Dots(const WCHAR *name)
{
    return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

void Walk(ENTRIES *entries, const WCHAR *folder, const char *prefix)
{
    WCHAR *pattern = Join(folder, L"\\*", L"");
    WIN32_FIND_DATAW found;
    HANDLE search = FindFirstFileW(pattern, &found);
    DWORD error;

    if (search == INVALID_HANDLE_VALUE) {
        error = GetLastError();
        if (error == ERROR_FILE_NOT_FOUND || error == ERROR_NO_MORE_FILES)  /* an empty drive has no dots */
            return;
        Fail("cannot list", ToUtf8(folder), error);
    }
    do {
        char *name;
        ENTRY entry;

        if (Dots(found.cFileName))
            continue;
        name = ToUtf8(found.cFileName);
        entry.name = JoinUtf8(prefix, name, "");
        entry.path = Join(folder, L"\\", found.cFileName);
        entry.folder = (found.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) != 0;
        entry.size = (U64)found.nFileSizeHigh << 32 | found.nFileSizeLow;
        entry.written = found.ftLastWriteTime;
        Append(entries, &entry);
        /* A junction or a folder link may lead back up: list it, do not enter it. */
        if (entry.folder && !(found.dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT)) {
            char *inner = JoinUtf8(entry.name, "/", "");

            Walk(entries, entry.path, inner);
            Drop(inner);
        }
        Drop(name);
    } while (FindNextFileW(search, &found));
    error = GetLastError();
    FindClose(search);
    Drop(pattern);
    if (error != ERROR_NO_MORE_FILES)
        Fail("cannot list", ToUtf8(folder), error);
}

static void SiftDown(ENTRY *items, SIZE_T at, SIZE_T count)
{
    SIZE_T child;

    while ((child = 2 * at + 1) < count) {
        ENTRY swap = items[at];

        if (child + 1 < count && Order(items[child].name, items[child + 1].name) < 0)
            child++;
        if (Order(swap.name, items[child].name) >= 0)
            return;
        items[at] = items[child];
        items[child] = swap;
        at = child;
    }
}

void Sort(ENTRIES *entries)  /* heap sort: no recursion, no worst case */
{
    SIZE_T i;

    for (i = entries->count / 2; i-- > 0;)
        SiftDown(entries->items, i, entries->count);
    for (i = entries->count; i-- > 1;) {
        ENTRY swap = entries->items[0];

        entries->items[0] = entries->items[i];
        entries->items[i] = swap;
        SiftDown(entries->items, 0, i);
    }
}

void List(ENTRIES *entries, const WCHAR *path, const char *name)
{
    WIN32_FILE_ATTRIBUTE_DATA data;
    WCHAR *full = FullPath(path);
    ENTRY entry;

    if (!GetFileAttributesExW(full, GetFileExInfoStandard, &data)) {
        DWORD error = GetLastError();  /* arguments are evaluated in any order, and the conversion may set it anew */

        Fail("cannot open", ToUtf8(path), error);
    }
    if (data.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) {
        Walk(entries, full, "");
        Sort(entries);
        return;
    }
    entry.name = JoinUtf8(name, "", "");
    entry.path = full;
    entry.folder = FALSE;
    entry.size = (U64)data.nFileSizeHigh << 32 | data.nFileSizeLow;
    entry.written = data.ftLastWriteTime;
    Append(entries, &entry);
}
