/*
 * labshell: what a login over SSH runs in the free guest.
 *
 * A Unix shell gets a command as one string; Wine makes a Windows command line of an argument list, and escapes every
 * quotation mark on the way, which cmd does not understand. So the string comes in the environment variable
 * LAB_COMMAND and is handed to cmd as it is.
 *
 * A Unix exit status has 8 bits, a Windows exit code 32. With LAB_EXIT=1 in its environment the program ends its
 * standard error with the line "\x1elab-exit:<decimal>\n", so that error 1060 does not arrive as 36.
 */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

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

static int run(void)
{
    STARTUPINFOW startup;
    PROCESS_INFORMATION process;
    WCHAR want_exit[4];
    DWORD code = 1, length, at;
    BOOL tell;

    for (at = 0; prefix[at]; at++)
        line[at] = prefix[at];
    length = GetEnvironmentVariableW(L"LAB_COMMAND", line + at, MAX_LINE);
    if (!length || length >= MAX_LINE) {
        put(STD_ERROR_HANDLE, "labshell: LAB_COMMAND is missing or longer than 32760 characters\n");
        return 1;
    }
    tell = GetEnvironmentVariableW(L"LAB_EXIT", want_exit, 4) == 1 && want_exit[0] == '1';
    SetEnvironmentVariableW(L"LAB_COMMAND", NULL);
    SetEnvironmentVariableW(L"LAB_EXIT", NULL);

    for (at = 0; at < sizeof(startup); at++)
        ((volatile char *)&startup)[at] = 0;
    startup.cb = sizeof(startup);
    startup.dwFlags = STARTF_USESTDHANDLES;
    startup.hStdInput = GetStdHandle(STD_INPUT_HANDLE);
    startup.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
    startup.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    if (!CreateProcessW(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &process)) {
        put(STD_ERROR_HANDLE, "labshell: cmd.exe does not start, error ");
        put_number(STD_ERROR_HANDLE, GetLastError());
        put(STD_ERROR_HANDLE, "\n");
        return 1;
    }
    WaitForSingleObject(process.hProcess, INFINITE);
    GetExitCodeProcess(process.hProcess, &code);
    if (tell) {
        put(STD_ERROR_HANDLE, "\x1elab-exit:");
        put_number(STD_ERROR_HANDLE, code);
        put(STD_ERROR_HANDLE, "\n");
    }
    return (int)code;
}

#ifdef LAB_FREESTANDING /* the lab's build: no C run-time library */
void Start(void);
void Start(void)
{
    ExitProcess((UINT)run());
}
#else
int main(void)
{
    return run();
}
#endif
