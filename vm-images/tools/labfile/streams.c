/*
 * streams.c - standard input, output and error, and the end of the program with an error.
 */
#include "streams.h"

U8 Buffer[BUFFER_SIZE];

static void Say(const char *text)
{
    DWORD written;

    WriteFile(GetStdHandle(STD_ERROR_HANDLE), text, (DWORD)Length(text), &written, NULL);
}

DECLSPEC_NORETURN void Fail(const char *what, const char *name, DWORD error)
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

void Output(const void *data, SIZE_T size)
{
    WriteAll(GetStdHandle(STD_OUTPUT_HANDLE), data, size, "standard output");
}

DWORD ReadSome(HANDLE file, void *data, DWORD size, const char *name)
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

DWORD Input(void *data, DWORD size)
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

HANDLE OpenForReading(const WCHAR *path, const char *name)
{
    HANDLE file = CreateFileW(path, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_EXISTING,
                              FILE_FLAG_SEQUENTIAL_SCAN, NULL);

    if (file == INVALID_HANDLE_VALUE)
        Fail("cannot open", name, GetLastError());
    return file;
}
