/*
 * async_reader.c - leaves three overlapped reads with the async driver, waits for all of them, shows what came.
 *
 * Prints one line a read, in UTF-8 whatever the console's code page is. Ends with 0, or with the Win32 error of what
 * failed. Uses kernel32 alone, so that the process starts quickly and runs on NT 5.2 and later.
 */
#include "../common/console.h"

#define PROGRAM "async_reader"
#define LINK L"\\\\.\\LySharkAsync"
#define READS 3
#define READ_SIZE 13
#define PATIENCE_MS 60000

typedef struct _READ {
    OVERLAPPED overlapped;
    char buffer[READ_SIZE + 1];  /* the driver sends no terminator: keep room for one */
} READ;

static READ Reads[READS];  /* static: zero at start, and alive as long as the driver may write to it */

static int Main(void)
{
    HANDLE events[READS];
    HANDLE device;
    DWORD waited;
    int i;

    device = CreateFileW(LINK, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING,
                         FILE_ATTRIBUTE_NORMAL | FILE_FLAG_OVERLAPPED, NULL);
    if (device == INVALID_HANDLE_VALUE)
        return Fail(PROGRAM, "cannot open \\\\.\\LySharkAsync", GetLastError());

    for (i = 0; i < READS; i++) {
        events[i] = CreateEventW(NULL, TRUE, FALSE, NULL);
        if (events[i] == NULL)
            return Fail(PROGRAM, "cannot make an event", GetLastError());
        Reads[i].overlapped.hEvent = events[i];
        if (!ReadFile(device, Reads[i].buffer, READ_SIZE, NULL, &Reads[i].overlapped)
            && GetLastError() != ERROR_IO_PENDING)
            return Fail(PROGRAM, "cannot issue a read", GetLastError());
    }

    waited = WaitForMultipleObjects(READS, events, TRUE, PATIENCE_MS);
    if (waited >= READS)
        return Fail(PROGRAM, "the reads did not end", waited == WAIT_TIMEOUT ? (DWORD)WAIT_TIMEOUT : GetLastError());

    for (i = 0; i < READS; i++) {
        char letter[2];
        DWORD got = 0;
        LINE line;

        if (!GetOverlappedResult(device, &Reads[i].overlapped, &got, FALSE))
            return Fail(PROGRAM, "a read failed", GetLastError());
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
