/*
 * sync_reader.c - reads five times from the sync driver and shows what it got.
 *
 * Prints one line a read, in UTF-8 whatever the console's code page is. Ends with 0, or with the Win32 error of what
 * failed. Uses kernel32 alone, so that the process starts quickly and runs on NT 5.2 and later.
 */
#include "../common/console.h"

#define PROGRAM "sync_reader"
#define LINK L"\\\\.\\LySharkSync"
#define READS 5
#define READ_SIZE 20

static int Main(void)
{
    HANDLE device;
    int i;

    device = CreateFileW(LINK, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    if (device == INVALID_HANDLE_VALUE)
        return Fail(PROGRAM, "cannot open \\\\.\\LySharkSync", GetLastError());

    for (i = 0; i < READS; i++) {
        char buffer[READ_SIZE + 1];  /* always room for a terminator */
        DWORD got = 0;
        LINE line;
        int k;

        for (k = 0; k < (int)sizeof(buffer); k++)
            buffer[k] = 0;
        if (!ReadFile(device, buffer, READ_SIZE, &got, NULL))
            return Fail(PROGRAM, "cannot read", GetLastError());
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
