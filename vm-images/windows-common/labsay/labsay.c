/*
 * labsay: hands what stands behind its name on the command line, and a newline, to OutputDebugString, in one call.
 *
 * Where no user-mode debugger and no monitor (DebugView) listens, that becomes a kernel print: the kernel's debugger gets it
 * in its place among the drivers' prints. Imports nothing that is newer than NT 5.2.
 */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

/* One print holds 511 characters. */
#define ROOM 512

static char text[ROOM];

static UINT Run(void)
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

#ifdef LAB_FREESTANDING /* the lab's build: no C run-time library */
void Start(void);
void Start(void)
{
    ExitProcess(Run());
}
#else
int main(void)
{
    return (int)Run();
}
#endif
