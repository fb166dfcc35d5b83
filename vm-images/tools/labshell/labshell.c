/*
 * labshell: what a login over SSH runs in the free guest.
 *
 * A Unix shell gets a command as one string; Wine makes a Windows command line of an argument list, and escapes every
 * quotation mark on the way, which cmd does not understand. So the string comes in the environment variable
 * LAB_COMMAND and is handed to cmd as it is.
 */
#include "../../../driver/common/program.h"

#define MAX_LINE 32760

static void put(DWORD which, const char *text)
{
    DWORD written, length = 0;

    while (text[length])
        length++;
    WriteFile(GetStdHandle(which), text, length, &written, NULL);
}

static void put_number(DWORD which, DWORD value)
{
    char text[11];
    int at = sizeof(text) - 1;

    text[at] = 0;
    do {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    put(which, text + at);
}

static WCHAR line[MAX_LINE + 64];
static const WCHAR prefix[] = L"C:\\windows\\system32\\cmd.exe /c ";

static int Main(void)
{
    STARTUPINFOW startup;
    PROCESS_INFORMATION process;
    DWORD code = 1, length, at;

    for (at = 0; prefix[at]; at++)
        line[at] = prefix[at];
    length = GetEnvironmentVariableW(L"LAB_COMMAND", line + at, MAX_LINE);
    if (!length || length >= MAX_LINE) {
        put(STD_ERROR_HANDLE, "labshell: LAB_COMMAND is missing or longer than 32760 characters\n");
        return 1;
    }
    SetEnvironmentVariableW(L"LAB_COMMAND", NULL);

    for (at = 0; at < sizeof(startup); at++)
        ((volatile char *)&startup)[at] = 0;
    startup.cb = sizeof(startup);
    startup.dwFlags = STARTF_USESTDHANDLES;
    startup.hStdInput = GetStdHandle(STD_INPUT_HANDLE);
    startup.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
    startup.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    if (!CreateProcessW(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &process)) {
        DWORD error = GetLastError();  /* before anything else is called, which would set it anew */

        put(STD_ERROR_HANDLE, "labshell: cmd.exe does not start, error ");
        put_number(STD_ERROR_HANDLE, error);
        put(STD_ERROR_HANDLE, "\n");
        return 1;
    }
    WaitForSingleObject(process.hProcess, INFINITE);
    GetExitCodeProcess(process.hProcess, &code);
    return (int)code;
}
