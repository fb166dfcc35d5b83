/*
 * async_reader.c - leaves three overlapped reads with the async driver, waits for all of them, shows what came.
 *
 * Prints one line a read, in UTF-8 whatever the console's code page is. Ends with 0, or with the Win32 error of what
 * failed. Uses kernel32 alone, so that the process starts quickly and runs on NT 5.2 and later.
 */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#define LINK L"\\\\.\\LySharkAsync"
#define READS 3
#define READ_SIZE 13
#define PATIENCE_MS 60000

typedef struct _LINE {
    char text[512];
    DWORD length;
} LINE;

typedef struct _READ {
    OVERLAPPED overlapped;
    char buffer[READ_SIZE + 1];  /* the driver sends no terminator: keep room for one */
} READ;

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
    Add(&line, "async_reader: ");
    Add(&line, what);
    Add(&line, " failed with Win32 error ");
    AddNumber(&line, error);
    Add(&line, "\n");
    Put(&line, STD_ERROR_HANDLE);
    return (int)(error ? error : ERROR_GEN_FAILURE);
}

static READ Reads[READS];  /* static: zero at start, and alive as long as the driver may write to it */

static int Run(void)
{
    HANDLE events[READS];
    HANDLE device;
    DWORD waited;
    int i;

    device = CreateFileW(LINK, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING,
                         FILE_ATTRIBUTE_NORMAL | FILE_FLAG_OVERLAPPED, NULL);
    if (device == INVALID_HANDLE_VALUE)
        return Fail("opening \\\\.\\LySharkAsync", GetLastError());

    for (i = 0; i < READS; i++) {
        events[i] = CreateEventW(NULL, TRUE, FALSE, NULL);
        if (events[i] == NULL)
            return Fail("making an event", GetLastError());
        Reads[i].overlapped.hEvent = events[i];
        if (!ReadFile(device, Reads[i].buffer, READ_SIZE, NULL, &Reads[i].overlapped)
            && GetLastError() != ERROR_IO_PENDING)
            return Fail("issuing a read", GetLastError());
    }

    waited = WaitForMultipleObjects(READS, events, TRUE, PATIENCE_MS);
    if (waited >= READS)
        return Fail("waiting for the reads", waited == WAIT_TIMEOUT ? (DWORD)WAIT_TIMEOUT : GetLastError());

    for (i = 0; i < READS; i++) {
        char letter[2];
        DWORD got = 0;
        LINE line;

        if (!GetOverlappedResult(device, &Reads[i].overlapped, &got, FALSE))
            return Fail("a read", GetLastError());
        Reads[i].buffer[got <= READ_SIZE ? got : READ_SIZE] = 0;

        letter[0] = (char)('A' + i);
        letter[1] = 0;
        line.length = 0;
        Add(&line, "缓存LyShark ");
        Add(&line, letter);
        Add(&line, ": ");
        Add(&line, Reads[i].buffer);
        Add(&line, "\n");
        Put(&line, STD_OUTPUT_HANDLE);
        CloseHandle(events[i]);
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
