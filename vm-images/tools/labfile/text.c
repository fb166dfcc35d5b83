/*
 * text.c - UTF-16 texts, and paths.
 */
#include "text.h"

#include "streams.h"

WCHAR *ToWide(const char *text)
{
    int size = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, NULL, 0);
    WCHAR *wide;

    if (size == 0)
        Fail("a name in the stream is not UTF-8", text, ERROR_NO_UNICODE_TRANSLATION);
    wide = Take((SIZE_T)size * sizeof(WCHAR));
    MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, wide, size);
    return wide;
}

WCHAR *Join(const WCHAR *a, const WCHAR *b, const WCHAR *c)
{
    SIZE_T x = WideLength(a), y = WideLength(b), z = WideLength(c);
    WCHAR *all = Take((x + y + z + 1) * sizeof(WCHAR));

    Copy(all, a, x * sizeof(WCHAR));
    Copy(all + x, b, y * sizeof(WCHAR));
    Copy(all + x + y, c, z * sizeof(WCHAR));
    return all;
}

char *JoinUtf8(const char *a, const char *b, const char *c)
{
    SIZE_T x = Length(a), y = Length(b), z = Length(c);
    char *all = Take(x + y + z + 1);

    Copy(all, a, x);
    Copy(all + x, b, y);
    Copy(all + x + y, c, z);
    return all;
}

WCHAR *FullPath(const WCHAR *path)
{
    DWORD size = GetFullPathNameW(path, 0, NULL, NULL);
    DWORD error = GetLastError();
    WCHAR *full = Take(((SIZE_T)size + 1) * sizeof(WCHAR)), *lifted;
    SIZE_T end;

    if (size != 0 && GetFullPathNameW(path, size, full, NULL) == 0) {
        error = GetLastError();
        size = 0;
    }
    if (size == 0)
        Fail("not a path", ToUtf8(path), error);
    end = WideLength(full);
    while (end > 3 && full[end - 1] == '\\')
        full[--end] = 0;
    if (full[0] == 0 || full[1] != ':')
        return full;
    lifted = Join(L"\\\\?\\", full, L"");
    Drop(full);
    return lifted;
}
