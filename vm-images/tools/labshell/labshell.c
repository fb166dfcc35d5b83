/*
 * labshell: what a login over SSH runs in the free guest.
 *
 * A Unix shell gets a command as one string; Wine makes a Windows command line of an argument list, and escapes every
 * quotation mark on the way, which cmd does not understand. So the string comes in the environment variable
 * LAB_COMMAND and is handed to cmd as it is.
 */
#include "../../../driver/common/console.h"

#define PROGRAM "labshell"
#define MAX_LINE 32760

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
        Fail(PROGRAM, "LAB_COMMAND is missing, or longer than 32760 characters", length ? ERROR_BAD_LENGTH : GetLastError());
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
        Fail(PROGRAM, "cmd.exe does not start", GetLastError());
        return 1;
    }
    WaitForSingleObject(process.hProcess, INFINITE);
    GetExitCodeProcess(process.hProcess, &code);
    return (int)code;
}
