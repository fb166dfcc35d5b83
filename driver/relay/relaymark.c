/*
 * relaymark.c - has the print relay write a mark between the prints:  relaymark TOKEN
 *
 * Ends with 0 when the mark follows everything that was printed before, or with a Win32 error and a line on standard
 * error: 2 when the print relay is not loaded, 50 when it cannot relay prints of this kernel, 1167 when the VM has no
 * debug console, 87 for a token that is none. Imports kernel32 alone, and runs on NT 5.2 and later.
 */
#include "../common/console.h"

#include <winioctl.h>

#include "../common/arguments.h"
#include "ioctl.h"

#define PROGRAM "relaymark"
#define LINK L"\\\\.\\LabRelay"

/* Its length in plain ASCII; 0 when it is too long or has other characters. */
static DWORD Token(const WCHAR *word, char token[RELAY_TOKEN_MAX])
{
    DWORD length = 0;

    for (; *word > L' ' && *word <= L'~' && length < RELAY_TOKEN_MAX; word++)
        token[length++] = (char)*word;
    return *word ? 0 : length;
}

static int Main(void)
{
    char token[RELAY_TOKEN_MAX];
    WCHAR **words;
    DWORD length = Arguments(&words) == 1 ? Token(words[0], token) : 0, returned;
    int code = 0;
    HANDLE relay;

    if (length == 0)
        return Fail(PROGRAM, "usage: relaymark TOKEN, without blanks", ERROR_INVALID_PARAMETER);
    relay = CreateFileW(LINK, GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING, 0, NULL);
    if (relay == INVALID_HANDLE_VALUE)
        return Fail(PROGRAM, "the print relay's device cannot be opened; is the service LabRelay running?", GetLastError());
    if (!DeviceIoControl(relay, IOCTL_RELAY_MARK, token, length, NULL, 0, &returned, NULL))
        code = Fail(PROGRAM, "the print relay refused the mark", GetLastError());
    CloseHandle(relay);
    return code;
}
