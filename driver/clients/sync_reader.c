/*
 * sync_reader.c - reads five times from the sync driver and shows what it got.
 *
 * Prints one line a read, in UTF-8 whatever the console's code page is. Ends with 0, or with the Win32 error of what
 * failed. Uses kernel32 alone, so that the process starts quickly and runs on NT 5.2 and later.
 */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#define LINK L"\\\\.\\LySharkSync"
#define READS 5
#define READ_SIZE 20

typedef struct _LINE {
    char text[512];
    DWORD length;
} LINE;

static void Add(LINE *line, const char *text)
{
    while (*text && line->length < sizeof(line->text))
        line->text[line->length++] = *text++;
}

static void AddNumber(LINE *line, DWORD value)
{
    char digits[11];
    int at = sizeof(digits) - 1;

    digits[at] = 0;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    Add(line, digits + at);
}

static void Put(LINE *line, DWORD stream)
{
    DWORD written;

    WriteFile(GetStdHandle(stream), line->text, line->length, &written, NULL);
}

static int Fail(const char *what, DWORD error)
{
    LINE line;

    line.length = 0;
    Add(&line, "sync_reader: ");
    Add(&line, what);
    Add(&line, " failed with Win32 error ");
    AddNumber(&line, error);
    Add(&line, "\n");
    Put(&line, STD_ERROR_HANDLE);
    return (int)(error ? error : ERROR_GEN_FAILURE);
}

static int Run(void)
{
    HANDLE device;
    int i;

    device = CreateFileW(LINK, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    if (device == INVALID_HANDLE_VALUE)
        return Fail("opening \\\\.\\LySharkSync", GetLastError());

    for (i = 0; i < READS; i++) {
        char buffer[READ_SIZE + 1];  /* always room for a terminator */
        DWORD got = 0;
        LINE line;
        int k;

        for (k = 0; k < (int)sizeof(buffer); k++)
            buffer[k] = 0;
        if (!ReadFile(device, buffer, READ_SIZE, &got, NULL))
            return Fail("reading", GetLastError());
        buffer[got <= READ_SIZE ? got : READ_SIZE] = 0;

        line.length = 0;
        Add(&line, "读入数据: ");
        Add(&line, buffer);
        Add(&line, " -> 读取长度: ");
        AddNumber(&line, got);
        Add(&line, "\n");
        Put(&line, STD_OUTPUT_HANDLE);
    }
    CloseHandle(device);
    return 0;
}

#ifdef LAB_FREESTANDING /* the lab's build: no C run-time library */
void Start(void)
{
    ExitProcess((UINT)Run());
}
#else
int main(void)
{
    return Run();
}
#endif
