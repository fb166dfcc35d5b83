/*
 * arguments.c - the words of the command line, without a C run-time library.
 */
#include "arguments.h"

#include "memory.h"
#include "strings.h"

int Arguments(WCHAR ***words)
{
    const WCHAR *from = GetCommandLineW();
    SIZE_T size = WideLength(from), slashes, i;
    WCHAR *to = Take((size + 2) * sizeof(WCHAR));
    BOOL quoted = FALSE;
    int count = 0;

    *words = Take((size / 2 + 2) * sizeof(WCHAR *));
    for (; *from && (quoted || (*from != ' ' && *from != '\t')); from++)  /* the program's own name */
        if (*from == '"')
            quoted = !quoted;
    quoted = FALSE;
    for (;;) {
        while (*from == ' ' || *from == '\t')
            from++;
        if (!*from)
            return count;
        (*words)[count++] = to;
        while (*from && (quoted || (*from != ' ' && *from != '\t'))) {
            for (slashes = 0; *from == '\\'; from++)
                slashes++;
            if (*from != '"') {
                for (i = 0; i < slashes; i++)
                    *to++ = '\\';
                if (!slashes)
                    *to++ = *from++;
                continue;
            }
            for (i = 0; i < slashes / 2; i++)
                *to++ = '\\';
            if (slashes % 2)
                *to++ = '"';
            else
                quoted = !quoted;
            from++;
        }
        *to++ = 0;
    }
}
