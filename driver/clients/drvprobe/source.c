/*
 * source.c - where the script comes from: the command line, a file, or standard input.
 */
#include "source.h"

#include "../../common/arguments.h"
#include "../../common/strings.h"
#include "lines.h"

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

static WCHAR *JoinedArguments(void)
{
    WCHAR **words, *joined;
    SIZE_T size = 1, written = 0;
    int count = Arguments(&words), i;

    for (i = 0; i < count; i++)
        size += WideLength(words[i]) + 1;
    joined = Take(size * sizeof(WCHAR));
    for (i = 0; i < count; i++) {
        if (i != 0)
            joined[written++] = ' ';
        Copy(joined + written, words[i], WideLength(words[i]) * sizeof(WCHAR));
        written += WideLength(words[i]);
    }
    return joined;
}

BOOL AskedToServe(void)
{
    static const WCHAR option[] = L"--serve";
    WCHAR *arguments = JoinedArguments();
    SIZE_T i = 0;

    while (i < ARRAYSIZE(option) && arguments[i] == option[i])
        i++;
    Drop(arguments);
    return i == ARRAYSIZE(option);  /* its zero included */
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
