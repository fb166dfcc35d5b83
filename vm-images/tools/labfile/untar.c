/*
 * untar.c - unpacks a ustar or pax stream.
 */
#include "pax.h"

#include "newfile.h"
#include "streams.h"
#include "text.h"

static DECLSPEC_NORETURN void BadStream(const char *why, const char *name)
{
    Fail(why, name, ERROR_INVALID_DATA);
}

static BOOL GetBlock(U8 *block)
{
    DWORD got = Input(block, BLOCK);

    if (got && got < BLOCK)
        Fail("the stream ends within a block", NULL, ERROR_HANDLE_EOF);
    return got != 0;
}

/* `size` bytes and their padding as a zero-terminated string: a long name, or pax records. */
static char *GetText(U64 size)
{
    SIZE_T room = (SIZE_T)((size + BLOCK - 1) / BLOCK * BLOCK);
    char *text;

    if (size > 1024 * 1024)
        BadStream("a header of the stream is too long", NULL);
    text = Take(room + 1);
    if (Input(text, (DWORD)room) != room)
        Fail("the stream ends within a header", NULL, ERROR_HANDLE_EOF);
    text[size] = 0;
    return text;
}

/* Take path and size out of pax records; the others do not matter here. */
static void GetPax(char *records, U64 total, char **path, U64 *size, BOOL *has_size)
{
    char *at = records, *end = records + total;

    while (at < end) {
        U64 length = 0;
        char *record = at, *value;

        while (at < end && *at >= '0' && *at <= '9')
            length = length * 10 + (U64)(*at++ - '0');
        if (at == end || *at != ' ' || length > (U64)(end - record) || record + length < at + 2 || record[length - 1] != '\n')
            BadStream("a pax record of the stream is broken", NULL);
        at++;
        record[length - 1] = 0;
        if (StartsWith(at, "path=")) {
            *path = JoinUtf8(at + 5, "", "");
        } else if (StartsWith(at, "size=")) {
            *size = 0;
            *has_size = TRUE;
            for (value = at + 5; *value >= '0' && *value <= '9'; value++)
                *size = *size * 10 + (U64)(*value - '0');
        }
        at = record + length;
    }
}

static char *HeaderName(const U8 *header)
{
    char name[NAME_SIZE + 1] = {0}, prefix[PREFIX_SIZE + 1] = {0};

    Copy(name, header + AT_NAME, NAME_SIZE);
    if (StartsWith((const char *)header + AT_MAGIC, "ustar") && header[AT_MAGIC + 5] == 0)
        Copy(prefix, header + AT_PREFIX, PREFIX_SIZE);
    return JoinUtf8(prefix, prefix[0] ? "/" : "", name);
}

/* The name as a relative path that stays below the target folder; NULL for the folder itself. */
static WCHAR *SafePath(char *name)
{
    SIZE_T end = Length(name), i, part;
    WCHAR *wide;

    while (name[0] == '.' && name[1] == '/') {
        Copy(name, name + 2, end - 1);
        end -= 2;
    }
    while (end && name[end - 1] == '/')
        name[--end] = 0;
    if (end == 0 || (end == 1 && name[0] == '.'))
        return NULL;
    for (i = 0, part = 0; i <= end; i++) {
        if (name[i] == '\\' || name[i] == ':')
            BadStream("a name in the stream has a backslash or a colon", name);
        if (name[i] != '/' && name[i] != 0)
            continue;
        if (i == part || (i == part + 1 && name[part] == '.') || (i == part + 2 && name[part] == '.' && name[part + 1] == '.'))
            BadStream("a name in the stream is absolute or has an empty part, `.` or `..`", name);
        part = i + 1;
    }
    wide = ToWide(name);
    for (i = 0; wide[i]; i++)
        if (wide[i] == '/')
            wide[i] = '\\';
    return wide;
}

static void GetFile(WCHAR *path, const char *name, U64 size)
{
    NEWFILE new_file;
    U64 left = (size + BLOCK - 1) / BLOCK * BLOCK, data = size;

    NewFile(&new_file, path, name);
    while (left) {
        DWORD part = left < BUFFER_SIZE ? (DWORD)left : BUFFER_SIZE;

        if (Input(Buffer, part) != part) {
            NewFileAbandon(&new_file);
            Fail("the stream ends within a file", name, ERROR_HANDLE_EOF);
        }
        NewFileAdd(&new_file, Buffer, data < part ? (DWORD)data : part);
        data -= data < part ? data : part;
        left -= part;
    }
    NewFileDone(&new_file);
}

/* One member; FALSE at the end of the archive. */
static BOOL GetMember(const WCHAR *folder)
{
    char *name = NULL, *text;
    BOOL has_size = FALSE;
    U64 size = 0, real_size = 0, sum;
    U8 header[BLOCK];
    WCHAR *relative, *path;

    for (;;) {
        int i;

        if (!GetBlock(header))
            Fail("the stream ends without an end mark", NULL, ERROR_HANDLE_EOF);
        for (i = 0; i < BLOCK && !header[i]; i++)
            ;
        if (i == BLOCK)
            return FALSE;
        if (!GetOctal(header + AT_CHECKSUM, CHECKSUM_SIZE, &sum) || sum != HeaderSum(header)
            || !GetOctal(header + AT_SIZE, SIZE_SIZE, &size))
            BadStream("a header of the stream is broken", NULL);
        if (header[AT_TYPE] == 'x') {
            text = GetText(size);
            GetPax(text, size, &name, &real_size, &has_size);
            Drop(text);
        } else if (header[AT_TYPE] == 'g') {  /* for the whole archive: time stamps, comments */
            Drop(GetText(size));
        } else if (header[AT_TYPE] == 'L') {  /* GNU: the long name of the next */
            name = GetText(size);
        } else {
            break;
        }
    }
    if (has_size)
        size = real_size;
    if (name == NULL)
        name = HeaderName(header);
    if (header[AT_TYPE] != '0' && header[AT_TYPE] != 0 && header[AT_TYPE] != '5')
        BadStream("the stream has something that is neither file nor folder", name);
    relative = SafePath(name);
    if (relative == NULL && header[AT_TYPE] != '5')
        BadStream("a file in the stream has no name", name);
    if (relative == NULL)
        return TRUE;
    path = Join(folder, L"\\", relative);
    if (header[AT_TYPE] == '5')
        MakeFolder(path, name);
    else
        GetFile(path, name, size);
    Drop(path);
    Drop(relative);
    Drop(name);
    return TRUE;
}

void Untar(const WCHAR *path)
{
    WCHAR *folder = FullPath(path);

    MakeFolder(folder, ToUtf8(path));
    while (GetMember(folder))
        ;
    while (Input(Buffer, BUFFER_SIZE))  /* the rest of the last record: the writer must not meet a closed pipe */
        ;
}
