/*
 * source.c - where the script comes from: the command line, a file, or standard input.
 */
#include "source.h"

#include "report.h"

static DECLSPEC_NORETURN void Unusable(const char *what, DWORD error, const char *name)
{
    TEXT message = {0};

    Add(&message, what);
    Add(&message, ", Win32 error ");
    AddNumber(&message, error);
    AddBytes(&message, "", 1);
    Wrong("main", NULL, NULL, message.data, name);
}

/* Half of a script is none: it would be run as if the rest had been left out on purpose. */
static char *ReadAll(HANDLE file, const char *name)
{
    TEXT text = {0};
    char *block = Take(65536);
    DWORD got = 0, error = 0;

    do {
        if (ReadFile(file, block, 65536, &got, NULL))
            AddBytes(&text, block, got);
        else
            error = GetLastError();
    } while (got && !error);
    if (error && error != ERROR_BROKEN_PIPE && error != ERROR_HANDLE_EOF)
        Unusable("the script cannot be read", error, name);
    AddBytes(&text, "", 1);
    Drop(block);
    return text.data;
}

static char *ToUtf8(const WCHAR *wide)
{
    int size = WideCharToMultiByte(CP_UTF8, 0, wide, -1, NULL, 0, NULL, NULL);
    char *text = Take((SIZE_T)size);

    WideCharToMultiByte(CP_UTF8, 0, wide, -1, text, size, NULL, NULL);
    return text;
}

/* The arguments joined by blanks, by the rules that Microsoft's run-time library has for quotes and backslashes. */
static WCHAR *JoinedArguments(void)
{
    const WCHAR *from = GetCommandLineW();
    SIZE_T size = 0, written = 0;
    BOOL quoted = FALSE, first = TRUE;
    WCHAR *joined;

    while (from[size])
        size++;
    joined = Take((size + 1) * sizeof(WCHAR));

    for (; *from && (quoted || (*from != ' ' && *from != '\t')); from++)  /* the program's own name */
        if (*from == '"')
            quoted = !quoted;
    quoted = FALSE;
    for (;;) {
        while (*from == ' ' || *from == '\t')
            from++;
        if (!*from)
            break;
        if (!first)
            joined[written++] = ' ';
        first = FALSE;
        while (*from && (quoted || (*from != ' ' && *from != '\t'))) {
            SIZE_T slashes = 0, i;

            while (*from == '\\') {
                slashes++;
                from++;
            }
            if (*from != '"') {
                for (i = 0; i < slashes; i++)
                    joined[written++] = '\\';
                if (!slashes)
                    joined[written++] = *from++;
                continue;
            }
            for (i = 0; i < slashes / 2; i++)
                joined[written++] = '\\';
            if (slashes % 2)
                joined[written++] = '"';
            else
                quoted = !quoted;
            from++;
        }
    }
    joined[written] = 0;
    return joined;
}

char *Script(void)
{
    WCHAR *arguments = JoinedArguments();
    HANDLE file;
    DWORD error;

    if (arguments[0] == '-' && !arguments[1])
        return ReadAll(GetStdHandle(STD_INPUT_HANDLE), "standard input");
    /* `@NAME operation` is a script; `@FILE` alone is a file. */
    if (arguments[0] == '@') {
        SIZE_T i = 0;

        while (arguments[i] && arguments[i] != ' ')
            i++;
        if (!arguments[i]) {
            file = CreateFileW(arguments + 1, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
            error = GetLastError();  /* before anything else is called, which would set it anew */
            if (file == INVALID_HANDLE_VALUE)
                Unusable("the script file cannot be opened", error, ToUtf8(arguments + 1));
            return ReadAll(file, ToUtf8(arguments + 1));
        }
    }
    return ToUtf8(arguments);
}
