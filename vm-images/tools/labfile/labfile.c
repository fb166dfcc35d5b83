/*
 * labfile.c - the guest's end of copying files: hashes them, and moves them through standard input and output.
 *
 *     labfile sum PATH...   one line a file: SHA-256, two blanks, size, two blanks, path; folders are walked, their
 *                           files' paths are relative to them, with `/`, sorted by their UTF-8 bytes
 *     labfile put PATH      standard input becomes the file; missing folders are made; prints its sum line
 *     labfile tar PATH      writes a file or the contents of a folder to standard output as a pax stream
 *     labfile untar DIR     unpacks a ustar or pax stream from standard input into DIR; a sum line for each file
 *     labfile drive SECONDS NAME       waits for a drive that has NAME at its top; prints it, for example `D:\`
 *     labfile fetch SECONDS NAME DIR   the same, then copies all of the drive but NAME into DIR; a sum line for each file
 *
 * Ends with 0 or with a Win32 error, then with a line on standard error. A file appears under its name only when all
 * of it is there. Imports kernel32 alone, so that it starts quickly, and runs on NT 5.2 and later.
 */
#include "../../../driver/common/arguments.h"
#include "../../../driver/common/program.h"
#include "media.h"
#include "newfile.h"
#include "pax.h"
#include "streams.h"
#include "sum.h"
#include "text.h"

static BOOL Is(const WCHAR *word, const char *name)
{
    while (*name && *word == (WCHAR)*name) {
        word++;
        name++;
    }
    return !*name && !*word;
}

static DWORD Seconds(const WCHAR *word)
{
    DWORD value = 0;

    if (!*word)
        Fail("not a number of seconds", ToUtf8(word), ERROR_INVALID_PARAMETER);
    for (; *word; word++) {
        if (*word < '0' || *word > '9' || value > 86400)
            Fail("not a number of seconds", ToUtf8(word), ERROR_INVALID_PARAMETER);
        value = value * 10 + (DWORD)(*word - '0');
    }
    return value;
}

static int Main(void)
{
    WCHAR **words;
    int count = Arguments(&words), i;

    if (count >= 2 && Is(words[0], "sum"))
        for (i = 1; i < count; i++)
            Sum(words[i]);
    else if (count == 2 && Is(words[0], "put"))
        Put(words[1]);
    else if (count == 2 && Is(words[0], "tar"))
        Tar(words[1]);
    else if (count == 2 && Is(words[0], "untar"))
        Untar(words[1]);
    else if (count == 3 && Is(words[0], "drive"))
        Drive(Seconds(words[1]), words[2]);
    else if (count == 4 && Is(words[0], "fetch"))
        Fetch(Seconds(words[1]), words[2], words[3]);
    else
        Fail("usage: labfile sum PATH... | put PATH | tar PATH | untar DIR | drive SECONDS NAME | fetch SECONDS NAME DIR", NULL,
             ERROR_INVALID_PARAMETER);
    return 0;
}
