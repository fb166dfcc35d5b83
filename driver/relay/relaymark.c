/*
 * relaymark.c - has the print relay write a mark between the prints:  relaymark TOKEN
 *
 * Ends with 0 when the mark is behind everything that was printed before, or with a Win32 error and a line on standard
 * error: 2 when the print relay is not loaded, 50 when it cannot relay prints of this kernel, 1167 when the machine has no
 * debug console, 87 for a token that is none. Imports kernel32 alone, and runs on NT 5.2 and later.
 */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#include <winioctl.h>

#include "ioctl.h"

#define LINK L"\\\\.\\LabRelay"

static void Say(const char *text)
{
    DWORD length = 0, written;

    while (text[length])
        length++;
    WriteFile(GetStdHandle(STD_ERROR_HANDLE), text, length, &written, NULL);
}

static DWORD Fail(const char *what, DWORD error)
{
    char text[11];
    char *digits = text + sizeof(text) - 1;
    DWORD rest = error;

    *digits = 0;
    do {
        *--digits = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    Say("relaymark: ");
    Say(what);
    Say(": Win32 error ");
    Say(digits);
    Say("\n");
    return error;
}

/* The one word behind the program's own name; 0 when it is not one, or not plain ASCII. */
static DWORD Token(char token[RELAY_TOKEN_MAX])
{
    const WCHAR *at = GetCommandLineW();
    DWORD length = 0;

    if (*at == L'"') {
        for (at++; *at && *at != L'"'; at++)
            ;
        if (*at)
            at++;
    } else {
        while (*at && *at != L' ' && *at != L'\t')
            at++;
    }
    while (*at == L' ' || *at == L'\t')
        at++;
    for (; *at > L' ' && *at <= L'~' && *at != L'"' && length < RELAY_TOKEN_MAX; at++)
        token[length++] = (char)*at;
    while (*at == L' ' || *at == L'\t')
        at++;
    return *at ? 0 : length;
}

static DWORD Main(void)
{
    char token[RELAY_TOKEN_MAX];
    DWORD length = Token(token), returned, error = 0;
    HANDLE relay;

    if (length == 0)
        return Fail("usage: relaymark TOKEN, without blanks and quotes", ERROR_INVALID_PARAMETER);
    relay = CreateFileW(LINK, GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING, 0, NULL);
    if (relay == INVALID_HANDLE_VALUE)
        return Fail("the print relay's device cannot be opened; is the service LabRelay running?", GetLastError());
    if (!DeviceIoControl(relay, IOCTL_RELAY_MARK, token, length, NULL, 0, &returned, NULL))
        error = Fail("the print relay refused the mark", GetLastError());
    CloseHandle(relay);
    return error;
}

#ifdef LAB_FREESTANDING /* the lab's build: no C run-time library */
void Start(void)
{
    ExitProcess(Main());
}
#else
int main(void)
{
    return (int)Main();
}
#endif
