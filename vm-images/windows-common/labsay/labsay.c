/*
 * labsay: hands what follows its name on the command line, and a newline, to OutputDebugString, in one call.
 *
 * Where no user-mode debugger and no monitor (DebugView) listens, that becomes a kernel print: the kernel's debugger gets it
 * in its place among the drivers' prints. Imports nothing that is newer than NT 5.2.
 */
#include "../../../driver/common/program.h"

/* One print holds 511 characters. */
#define ROOM 512

static char text[ROOM];

static int Main(void)
{
    const char *at = GetCommandLineA();
    BOOL quoted = FALSE;
    int length = 0;

    for (; *at && (quoted || (*at != ' ' && *at != '\t')); at++)
        if (*at == '"')
            quoted = !quoted;
    while (*at == ' ' || *at == '\t')
        at++;
    for (; *at && length < ROOM - 2; at++)
        if (*at != '"')
            text[length++] = *at;
    if (length == 0 || *at)
        return ERROR_INVALID_PARAMETER;
    text[length] = '\n';
    text[length + 1] = 0;
    OutputDebugStringA(text);
    return 0;
}
