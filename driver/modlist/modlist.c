/*
 * modlist.c - where drivers are loaded, on a guest whose kernel is a process.
 *
 * Prints one line for each module whose name ends in .sys, of each process: the process id, the module's address and its
 * size, both in hexadecimal, and its path in UTF-8. Ends with 0, or with the Win32 error of what failed. Uses kernel32
 * alone, so that the process starts quickly.
 */
#include "../common/program.h"
#include <tlhelp32.h>

typedef struct _LINE {
    char text[2048];
    DWORD length;
} LINE;

static void AddChar(LINE *line, char one)
{
    if (line->length < sizeof(line->text))
        line->text[line->length++] = one;
}

static void AddHex(LINE *line, ULONG_PTR value)
{
    int shift = (int)sizeof(value) * 8 - 4;

    while (shift > 0 && !(value >> shift))
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        AddChar(line, "0123456789abcdef"[(value >> shift) & 15]);
}

static void AddText(LINE *line, const WCHAR *text)
{
    int room = (int)(sizeof(line->text) - line->length);

    /* The terminating zero is converted, too, and does not count. */
    room = WideCharToMultiByte(CP_UTF8, 0, text, -1, line->text + line->length, room, NULL, NULL);
    line->length += room > 0 ? (DWORD)room - 1 : 0;
}

static BOOL IsDriver(const WCHAR *name)
{
    int length = lstrlenW(name);

    return length > 4 && lstrcmpiW(name + length - 4, L".sys") == 0;
}

static void ListModules(DWORD process, HANDLE out)
{
    HANDLE snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPMODULE, process);
    MODULEENTRY32W module;
    BOOL more;

    /* A process that has just ended, or one that may not be looked into, has no driver of ours. */
    if (snapshot == INVALID_HANDLE_VALUE)
        return;
    module.dwSize = sizeof(module);
    for (more = Module32FirstW(snapshot, &module); more; more = Module32NextW(snapshot, &module)) {
        LINE line;
        DWORD written;

        if (!IsDriver(module.szModule))
            continue;
        line.length = 0;
        AddHex(&line, process);
        AddChar(&line, ' ');
        AddHex(&line, (ULONG_PTR)module.modBaseAddr);
        AddChar(&line, ' ');
        AddHex(&line, module.modBaseSize);
        AddChar(&line, ' ');
        AddText(&line, module.szExePath);
        AddChar(&line, '\n');
        WriteFile(out, line.text, line.length, &written, NULL);
    }
    CloseHandle(snapshot);
}

static int Main(void)
{
    HANDLE snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
    PROCESSENTRY32W process;
    BOOL more;

    if (snapshot == INVALID_HANDLE_VALUE)
        return (int)GetLastError();
    process.dwSize = sizeof(process);
    for (more = Process32FirstW(snapshot, &process); more; more = Process32NextW(snapshot, &process))
        ListModules(process.th32ProcessID, GetStdHandle(STD_OUTPUT_HANDLE));
    CloseHandle(snapshot);
    return 0;
}
