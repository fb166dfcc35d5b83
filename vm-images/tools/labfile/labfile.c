/*
 * labfile.c - the guest's end of copying files: hashes them, and moves them through standard input and output.
 *
 *     labfile sum PATH...   one line a file: SHA-256, two blanks, size, two blanks, path; folders are walked, their
 *                           files' paths are relative to them, with `/`, sorted by their UTF-8 bytes
 *     labfile put PATH      standard input becomes the file; missing folders are made; prints its sum line
 *     labfile tar PATH      writes a file or the contents of a folder to standard output as a pax stream
 *     labfile untar DIR     unpacks a ustar or pax stream from standard input into DIR; a sum line for each file
 *     labfile drive SECONDS NAME       waits for a drive that has NAME at its top; prints it, for example `D:\`
 *     labfile fetch SECONDS NAME DIR   the same, then copies all of the drive but NAME into DIR; a sum line for each file
 *
 * Ends with 0 or with a Win32 error, then with a line on standard error. A file appears under its name only when all
 * of it is there. Imports kernel32 alone, so that it starts quickly, and runs on NT 5.2 and later.
 */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#define BLOCK 512
#define BUFFER_SIZE 65536

typedef unsigned char U8;
typedef unsigned int U32;
typedef unsigned __int64 U64;

/* ---- memory, text, errors ------------------------------------------------------------------------------------- */

#ifdef LAB_FREESTANDING /* the compiler calls these two on its own */
void *memcpy(void *target, const void *source, size_t size)
{
    char *to = target;
    const char *from = source;

    while (size--)
        *to++ = *from++;
    return target;
}

void *memset(void *target, int value, size_t size)
{
    char *to = target;

    while (size--)
        *to++ = (char)value;
    return target;
}
#endif

static void Copy(void *target, const void *source, SIZE_T size)
{
    SIZE_T i;

    for (i = 0; i < size; i++)
        ((char *)target)[i] = ((const char *)source)[i];
}

static SIZE_T Length(const char *text)
{
    SIZE_T length = 0;

    while (text[length])
        length++;
    return length;
}

static SIZE_T WideLength(const WCHAR *text)
{
    SIZE_T length = 0;

    while (text[length])
        length++;
    return length;
}

static void Say(const char *text)
{
    DWORD written;

    WriteFile(GetStdHandle(STD_ERROR_HANDLE), text, (DWORD)Length(text), &written, NULL);
}

static char *Digits(U64 value, char *end)
{
    *--end = 0;
    do {
        *--end = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    return end;
}

static DECLSPEC_NORETURN void Fail(const char *what, const char *name, DWORD error)
{
    char digits[24];

    Say("labfile: ");
    Say(what);
    if (name) {
        Say(": ");
        Say(name);
    }
    Say(": Win32 error ");
    Say(Digits(error, digits + sizeof(digits)));
    Say("\n");
    ExitProcess(error ? error : ERROR_GEN_FAILURE);
    for (;;)  /* not reached */
        ;
}

static void *Take(SIZE_T size)
{
    void *memory = HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, size ? size : 1);

    if (memory == NULL)
        Fail("out of memory", NULL, ERROR_NOT_ENOUGH_MEMORY);
    return memory;
}

static void Drop(void *memory)
{
    HeapFree(GetProcessHeap(), 0, memory);
}

static char *ToUtf8(const WCHAR *wide)
{
    int size = WideCharToMultiByte(CP_UTF8, 0, wide, -1, NULL, 0, NULL, NULL);
    char *text = Take((SIZE_T)size + 1);

    WideCharToMultiByte(CP_UTF8, 0, wide, -1, text, size, NULL, NULL);
    return text;
}

static WCHAR *ToWide(const char *text)
{
    int size = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, NULL, 0);
    WCHAR *wide;

    if (size == 0)
        Fail("a name in the stream is not UTF-8", text, ERROR_NO_UNICODE_TRANSLATION);
    wide = Take((SIZE_T)size * sizeof(WCHAR));
    MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, wide, size);
    return wide;
}

static WCHAR *Join(const WCHAR *a, const WCHAR *b, const WCHAR *c)
{
    SIZE_T x = WideLength(a), y = WideLength(b), z = WideLength(c);
    WCHAR *all = Take((x + y + z + 1) * sizeof(WCHAR));

    Copy(all, a, x * sizeof(WCHAR));
    Copy(all + x, b, y * sizeof(WCHAR));
    Copy(all + x + y, c, z * sizeof(WCHAR));
    return all;
}

static char *JoinUtf8(const char *a, const char *b, const char *c)
{
    SIZE_T x = Length(a), y = Length(b), z = Length(c);
    char *all = Take(x + y + z + 1);

    Copy(all, a, x);
    Copy(all + x, b, y);
    Copy(all + x + y, c, z);
    return all;
}

/* The full path, in the form that lifts the limit of 260 characters when it starts with a drive. */
static WCHAR *FullPath(const WCHAR *path)
{
    DWORD size = GetFullPathNameW(path, 0, NULL, NULL);
    WCHAR *full = Take(((SIZE_T)size + 1) * sizeof(WCHAR)), *lifted;
    SIZE_T end;

    if (size == 0 || GetFullPathNameW(path, size, full, NULL) == 0)
        Fail("not a path", ToUtf8(path), GetLastError());
    end = WideLength(full);
    while (end > 3 && full[end - 1] == '\\')
        full[--end] = 0;
    if (full[0] == 0 || full[1] != ':')
        return full;
    lifted = Join(L"\\\\?\\", full, L"");
    Drop(full);
    return lifted;
}

/* ---- SHA-256 (FIPS 180-4) ------------------------------------------------------------------------------------- */

typedef struct _SHA256 {
    U32 state[8];
    U64 size;
    U8 block[64];
} SHA256;

static const U32 RoundConstants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static U32 Rotate(U32 value, int by)
{
    return value >> by | value << (32 - by);
}

static void HashBlock(SHA256 *hash, const U8 *block)
{
    U32 w[64], v[8];
    int i;

    for (i = 0; i < 16; i++)
        w[i] = (U32)block[4 * i] << 24 | (U32)block[4 * i + 1] << 16 | (U32)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (; i < 64; i++) {
        U32 s0 = Rotate(w[i - 15], 7) ^ Rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        U32 s1 = Rotate(w[i - 2], 17) ^ Rotate(w[i - 2], 19) ^ w[i - 2] >> 10;

        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    for (i = 0; i < 8; i++)
        v[i] = hash->state[i];
    for (i = 0; i < 64; i++) {
        U32 s1 = Rotate(v[4], 6) ^ Rotate(v[4], 11) ^ Rotate(v[4], 25);
        U32 choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
        U32 one = v[7] + s1 + choice + RoundConstants[i] + w[i];
        U32 s0 = Rotate(v[0], 2) ^ Rotate(v[0], 13) ^ Rotate(v[0], 22);
        U32 two = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        int k;

        for (k = 7; k > 0; k--)
            v[k] = v[k - 1];
        v[4] += one;
        v[0] = one + two;
    }
    for (i = 0; i < 8; i++)
        hash->state[i] += v[i];
}

static void HashStart(SHA256 *hash)
{
    static const U32 initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    int i;

    for (i = 0; i < 8; i++)
        hash->state[i] = initial[i];
    hash->size = 0;
}

static void HashAdd(SHA256 *hash, const U8 *data, SIZE_T size)
{
    SIZE_T held = (SIZE_T)(hash->size % 64);

    hash->size += size;
    if (held) {
        SIZE_T part = 64 - held < size ? 64 - held : size;

        Copy(hash->block + held, data, part);
        data += part;
        size -= part;
        if (held + part < 64)
            return;
        HashBlock(hash, hash->block);
    }
    for (; size >= 64; data += 64, size -= 64)
        HashBlock(hash, data);
    Copy(hash->block, data, size);
}

static void HashEnd(SHA256 *hash, char text[65])
{
    static const char digits[] = "0123456789abcdef";
    U64 bits = hash->size * 8;
    U8 padding[72] = {0x80};
    SIZE_T size = 64 - (SIZE_T)((hash->size + 8) % 64);
    int i;

    for (i = 0; i < 8; i++)
        padding[size + (SIZE_T)i] = (U8)(bits >> (56 - 8 * i));
    HashAdd(hash, padding, size + 8);
    for (i = 0; i < 32; i++) {
        U8 byte = (U8)(hash->state[i / 4] >> (24 - 8 * (i % 4)));

        text[2 * i] = digits[byte >> 4];
        text[2 * i + 1] = digits[byte & 15];
    }
    text[64] = 0;
}

/* ---- streams -------------------------------------------------------------------------------------------------- */

static U8 Buffer[BUFFER_SIZE];

static void WriteAll(HANDLE file, const void *data, SIZE_T size, const char *name)
{
    const char *from = data;

    while (size) {
        DWORD part = size < BUFFER_SIZE ? (DWORD)size : BUFFER_SIZE, written = 0;

        if (!WriteFile(file, from, part, &written, NULL) || written == 0)
            Fail("cannot write", name, GetLastError());
        from += written;
        size -= written;
    }
}

static void Output(const void *data, SIZE_T size)
{
    WriteAll(GetStdHandle(STD_OUTPUT_HANDLE), data, size, "standard output");
}

/* Bytes read, at most `size`; 0 at the end. A pipe whose writer is gone is at its end. */
static DWORD ReadSome(HANDLE file, void *data, DWORD size, const char *name)
{
    DWORD got = 0;

    if (!ReadFile(file, data, size, &got, NULL)) {
        DWORD error = GetLastError();

        if (error == ERROR_BROKEN_PIPE || error == ERROR_HANDLE_EOF)
            return 0;
        Fail("cannot read", name, error);
    }
    return got;
}

static DWORD Input(void *data, DWORD size)
{
    DWORD all = 0;

    while (all < size) {
        DWORD got = ReadSome(GetStdHandle(STD_INPUT_HANDLE), (char *)data + all, size - all, "standard input");

        if (got == 0)
            break;
        all += got;
    }
    return all;
}

static void PrintSum(SHA256 *hash, const char *name)
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

static HANDLE OpenForReading(const WCHAR *path, const char *name)
{
    HANDLE file = CreateFileW(path, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_EXISTING,
                              FILE_FLAG_SEQUENTIAL_SCAN, NULL);

    if (file == INVALID_HANDLE_VALUE)
        Fail("cannot open", name, GetLastError());
    return file;
}

/* ---- files that appear whole ---------------------------------------------------------------------------------- */

/* Make a folder and its parents. */
static void MakeFolder(WCHAR *path, const char *name)
{
    DWORD error;
    SIZE_T cut;

    if (CreateDirectoryW(path, NULL))
        return;
    error = GetLastError();
    if (error == ERROR_PATH_NOT_FOUND) {
        for (cut = WideLength(path); cut && path[cut] != '\\'; cut--)
            ;
        if (cut) {
            path[cut] = 0;
            MakeFolder(path, name);
            path[cut] = '\\';
            if (CreateDirectoryW(path, NULL))
                return;
            error = GetLastError();
        }
    }
    if (error == ERROR_ALREADY_EXISTS || error == ERROR_ACCESS_DENIED) {  /* a drive's root is denied */
        DWORD attributes = GetFileAttributesW(path);

        if (attributes != INVALID_FILE_ATTRIBUTES && attributes & FILE_ATTRIBUTE_DIRECTORY)
            return;
    }
    Fail("cannot make the folder", name, error);
}

static void MakeParent(WCHAR *path, const char *name)
{
    SIZE_T cut = WideLength(path);

    while (cut && path[cut] != '\\')
        cut--;
    if (cut) {
        path[cut] = 0;
        MakeFolder(path, name);
        path[cut] = '\\';
    }
}

typedef struct _NEWFILE {
    WCHAR *path, *temporary;
    const char *name;
    HANDLE file;
    SHA256 hash;
} NEWFILE;

static void NewFile(NEWFILE *new_file, WCHAR *path, const char *name)
{
    char digits[24];
    WCHAR *number = ToWide(Digits(GetCurrentProcessId(), digits + sizeof(digits)));

    new_file->path = path;
    new_file->name = name;
    MakeParent(path, name);
    new_file->temporary = Join(path, L".part-", number);
    new_file->file = CreateFileW(new_file->temporary, GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
    if (new_file->file == INVALID_HANDLE_VALUE)
        Fail("cannot create", name, GetLastError());
    HashStart(&new_file->hash);
    Drop(number);
}

static void NewFileAbandon(NEWFILE *new_file)
{
    CloseHandle(new_file->file);
    DeleteFileW(new_file->temporary);
}

static void NewFileAdd(NEWFILE *new_file, const U8 *data, DWORD size)
{
    DWORD written = 0;

    if (size && (!WriteFile(new_file->file, data, size, &written, NULL) || written != size)) {
        DWORD error = GetLastError();

        NewFileAbandon(new_file);
        Fail("cannot write", new_file->name, error ? error : ERROR_DISK_FULL);
    }
    HashAdd(&new_file->hash, data, size);
}

static void NewFileDone(NEWFILE *new_file)
{
    DWORD error;

    CloseHandle(new_file->file);
    if (!MoveFileExW(new_file->temporary, new_file->path, MOVEFILE_REPLACE_EXISTING)) {
        error = GetLastError();
        DeleteFileW(new_file->temporary);
        Fail("cannot replace", new_file->name, error);
    }
    PrintSum(&new_file->hash, new_file->name);
    Drop(new_file->temporary);
}

/* ---- walking folders ------------------------------------------------------------------------------------------ */

typedef struct _ENTRY {
    char *name;      /* relative, with `/`; UTF-8 */
    WCHAR *path;     /* full */
    BOOL folder;
    U64 size;
    FILETIME written;
} ENTRY;

typedef struct _ENTRIES {
    ENTRY *items;
    SIZE_T count, room;
} ENTRIES;

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

static int Order(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return (int)(U8)*a - (int)(U8)*b;
}

static BOOL Dots(const WCHAR *name)
{
    return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

static void Walk(ENTRIES *entries, const WCHAR *folder, const char *prefix)
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

static void Sort(ENTRIES *entries)  /* heap sort: no recursion, no worst case */
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

/* A folder's contents, or the one file, under `name`. */
static void List(ENTRIES *entries, const WCHAR *path, const char *name)
{
    WIN32_FILE_ATTRIBUTE_DATA data;
    WCHAR *full = FullPath(path);
    ENTRY entry;

    if (!GetFileAttributesExW(full, GetFileExInfoStandard, &data))
        Fail("cannot open", ToUtf8(path), GetLastError());
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

/* ---- sum and put ---------------------------------------------------------------------------------------------- */

static void Sum(const WCHAR *path)
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

static void Put(const WCHAR *path)
{
    NEWFILE new_file;
    DWORD got;

    NewFile(&new_file, FullPath(path), ToUtf8(path));
    while ((got = Input(Buffer, BUFFER_SIZE)) != 0)
        NewFileAdd(&new_file, Buffer, got);
    NewFileDone(&new_file);
}

/* ---- pax streams ---------------------------------------------------------------------------------------------- */

/* Offsets and sizes of the fields of a ustar header that are used here. */
enum {
    AT_NAME = 0, NAME_SIZE = 100, AT_MODE = 100, AT_UID = 108, AT_GID = 116, AT_SIZE = 124, SIZE_SIZE = 12, AT_MTIME = 136, AT_CHECKSUM = 148,
    CHECKSUM_SIZE = 8, AT_TYPE = 156, AT_MAGIC = 257, AT_PREFIX = 345, PREFIX_SIZE = 155
};

#define OCTAL_LIMIT ((U64)1 << 33)  /* eleven octal digits */

static void PutOctal(U8 *field, int digits, U64 value)
{
    while (digits--) {
        field[digits] = (U8)('0' + (value & 7));
        value >>= 3;
    }
}

static BOOL GetOctal(const U8 *field, int size, U64 *value)
{
    int i = 0;

    *value = 0;
    if (field[0] & 0x80) {  /* GNU: binary, for large values */
        *value = field[0] & 0x7F;
        for (i = 1; i < size; i++) {
            if (*value >> 55)
                return FALSE;
            *value = *value << 8 | field[i];
        }
        return TRUE;
    }
    while (i < size && field[i] == ' ')
        i++;
    for (; i < size && field[i] && field[i] != ' '; i++) {
        if (field[i] < '0' || field[i] > '7')
            return FALSE;
        *value = *value << 3 | (U64)(field[i] - '0');
    }
    return TRUE;
}

static U64 HeaderSum(const U8 *header)
{
    U64 sum = 0;
    int i;

    for (i = 0; i < BLOCK; i++)
        sum += i >= AT_CHECKSUM && i < AT_CHECKSUM + CHECKSUM_SIZE ? ' ' : header[i];
    return sum;
}

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

static void Tar(const WCHAR *path)
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

static BOOL StartsWith(const char *text, const char *start)
{
    while (*start && *text == *start) {
        text++;
        start++;
    }
    return !*start;
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

static void Untar(const WCHAR *path)
{
    WCHAR *folder = FullPath(path);

    MakeFolder(folder, ToUtf8(path));
    while (GetMember(folder))
        ;
    while (Input(Buffer, BUFFER_SIZE))  /* the rest of the last record: the writer must not meet a closed pipe */
        ;
}

/* ---- media ---------------------------------------------------------------------------------------------------- */

#define POLL_MS 50

static DWORD Seconds(const WCHAR *word)
{
    DWORD value = 0;

    if (!*word)
        Fail("not a number of seconds", ToUtf8(word), ERROR_INVALID_PARAMETER);
    for (; *word; word++) {
        if (*word < '0' || *word > '9' || value > 86400)
            Fail("not a number of seconds", ToUtf8(word), ERROR_INVALID_PARAMETER);
        value = value * 10 + (DWORD)(*word - '0');
    }
    return value;
}

/*
 * The letter of the drive that has `name` at its top. It is looked for by name and not by the kind of drive: which
 * letters a guest gives to its CD drives, and what it says of their kind, differs. A and B may be floppy drives, which
 * answer slowly; network drives may not answer at all.
 */
static WCHAR FindDrive(DWORD seconds, const WCHAR *name)
{
    DWORD begin = GetTickCount();

    SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOOPENFILEERRORBOX);  /* an empty drive is no reason to ask anybody */
    for (;;) {
        DWORD drives = GetLogicalDrives();
        WCHAR root[] = L"?:\\", *path;

        for (root[0] = 'C'; root[0] <= 'Z'; root[0]++) {
            DWORD attributes;

            if (!(drives & 1u << (root[0] - 'A')) || GetDriveTypeW(root) == DRIVE_REMOTE)
                continue;
            path = Join(root, name, L"");
            attributes = GetFileAttributesW(path);
            Drop(path);
            if (attributes != INVALID_FILE_ATTRIBUTES)
                return root[0];
        }
        if (GetTickCount() - begin >= seconds * 1000)
            Fail("no drive has it", ToUtf8(name), ERROR_NOT_READY);
        Sleep(POLL_MS);
    }
}

static void Drive(DWORD seconds, const WCHAR *name)
{
    char line[] = "?:\\\n";

    line[0] = (char)FindDrive(seconds, name);
    Output(line, sizeof(line) - 1);
}

static void Fetch(DWORD seconds, const WCHAR *mark, const WCHAR *target)
{
    WCHAR drive[] = L"\\\\?\\?:", *folder = FullPath(target);
    char *mark_name = ToUtf8(mark);
    ENTRIES entries = {0};
    SIZE_T i, at;

    drive[4] = FindDrive(seconds, mark);
    MakeFolder(folder, ToUtf8(target));
    Walk(&entries, drive, "");
    Sort(&entries);
    for (i = 0; i < entries.count; i++) {
        ENTRY *entry = &entries.items[i];
        WCHAR *relative = ToWide(entry->name), *path;
        NEWFILE new_file;
        HANDLE file;
        DWORD got;

        if (Order(entry->name, mark_name) == 0)
            continue;
        for (at = 0; relative[at]; at++)
            if (relative[at] == '/')
                relative[at] = '\\';
        path = Join(folder, L"\\", relative);
        Drop(relative);
        if (entry->folder) {
            MakeFolder(path, entry->name);
            continue;
        }
        file = OpenForReading(entry->path, entry->name);
        NewFile(&new_file, path, entry->name);
        for (;;) {
            if (!ReadFile(file, Buffer, BUFFER_SIZE, &got, NULL)) {
                DWORD error = GetLastError();  /* the medium was taken out, or is damaged */

                NewFileAbandon(&new_file);
                Fail("cannot read", entry->name, error);
            }
            if (got == 0)
                break;
            NewFileAdd(&new_file, Buffer, got);
        }
        CloseHandle(file);
        NewFileDone(&new_file);
        Drop(path);
    }
}

/* ---- command line --------------------------------------------------------------------------------------------- */

/* Cut the command line into words, by the rules that Microsoft's run-time library has for quotes and backslashes. */
static int Words(WCHAR ***words)
{
    const WCHAR *from = GetCommandLineW();
    SIZE_T size = WideLength(from), slashes, i;
    WCHAR *to = Take((size + 2) * sizeof(WCHAR));
    BOOL quoted = FALSE;
    int count = 0;

    *words = Take((size / 2 + 2) * sizeof(WCHAR *));
    for (; *from && (quoted || (*from != ' ' && *from != '\t')); from++)  /* the program's own name */
        if (*from == '"')
            quoted = !quoted;
    quoted = FALSE;
    for (;;) {
        while (*from == ' ' || *from == '\t')
            from++;
        if (!*from)
            return count;
        (*words)[count++] = to;
        while (*from && (quoted || (*from != ' ' && *from != '\t'))) {
            for (slashes = 0; *from == '\\'; from++)
                slashes++;
            if (*from != '"') {
                for (i = 0; i < slashes; i++)
                    *to++ = '\\';
                if (!slashes)
                    *to++ = *from++;
                continue;
            }
            for (i = 0; i < slashes / 2; i++)
                *to++ = '\\';
            if (slashes % 2)
                *to++ = '"';
            else
                quoted = !quoted;
            from++;
        }
        *to++ = 0;
    }
}

static BOOL Is(const WCHAR *word, const char *name)
{
    while (*name && *word == (WCHAR)*name) {
        word++;
        name++;
    }
    return !*name && !*word;
}

static int Main(void)
{
    WCHAR **words;
    int count = Words(&words), i;

    if (count >= 2 && Is(words[0], "sum"))
        for (i = 1; i < count; i++)
            Sum(words[i]);
    else if (count == 2 && Is(words[0], "put"))
        Put(words[1]);
    else if (count == 2 && Is(words[0], "tar"))
        Tar(words[1]);
    else if (count == 2 && Is(words[0], "untar"))
        Untar(words[1]);
    else if (count == 3 && Is(words[0], "drive"))
        Drive(Seconds(words[1]), words[2]);
    else if (count == 4 && Is(words[0], "fetch"))
        Fetch(Seconds(words[1]), words[2], words[3]);
    else
        Fail("usage: labfile sum PATH... | put PATH | tar PATH | untar DIR | drive SECONDS NAME | fetch SECONDS NAME DIR", NULL,
             ERROR_INVALID_PARAMETER);
    return 0;
}

#ifdef LAB_FREESTANDING /* the lab's build: no C run-time library */
void Start(void)
{
    ExitProcess((UINT)Main());
}
#else
int main(void)
{
    return Main();
}
#endif
