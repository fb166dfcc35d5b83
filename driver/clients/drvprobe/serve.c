/*
 * serve.c - scripts one after the other, from standard input.
 *
 * To a driver, the end of a script is the end of a process: all handles are closed, in the order in which they were opened, and
 * nothing is pending any more. A script that leaves something pending ends the process, so that Windows itself cancels it.
 * What a script says or does that ends a process ends this one, too: the next script is for another.
 */
#include "serve.h"

#include "device.h"
#include "held.h"
#include "pended.h"
#include "report.h"
#include "run.h"
#include "status.h"
#include "words.h"

#define MAX_HEADER 256

static char Input[65536];
static DWORD InputAt, InputSize;

/* Have some input in the buffer. FALSE: there is no more. */
static BOOL Fetch(void)
{
    if (InputAt < InputSize)
        return TRUE;
    InputAt = 0;
    /* An error is the end, too: it is that of the pipe, and the one who would read a line about it has gone. */
    if (!ReadFile(GetStdHandle(STD_INPUT_HANDLE), Input, sizeof(Input), &InputSize, NULL))
        InputSize = 0;
    return InputSize != 0;
}

/* A line without its end, with a zero. FALSE: there is none any more. */
static BOOL Header(char *line)
{
    DWORD size = 0;

    while (Fetch()) {
        char c = Input[InputAt++];

        if (c == '\n') {
            line[size] = 0;
            return TRUE;
        }
        if (size == MAX_HEADER - 1)
            break;
        line[size++] = c;
    }
    line[size] = 0;
    if (size)
        Wrong("main", NULL, line, "not the line in front of a script", NULL);
    return FALSE;
}

/* The words of `run TOKEN SIZE`, cut in place. */
static DWORD ReadHeader(char *line, char **token)
{
    char *at = line, *word[3];
    DWORD size = 0;
    int i;

    for (i = 0; i < 3; i++) {
        word[i] = at;
        while (*at && *at != ' ')
            at++;
        if (*at && i < 2)
            *at++ = 0;
    }
    if (!Same(word[0], "run") || !*word[1] || !ParseNumber(word[2], 10, &size))
        Wrong("main", NULL, word[0], "not the line in front of a script", NULL);
    *token = word[1];
    return size;
}

/* UTF-8 with a zero at its end. Part of a script is none. */
static char *ReadScript(DWORD size)
{
    char *script = Take((SIZE_T)size + 1);
    DWORD done = 0;

    while (done < size) {
        DWORD part;

        if (!Fetch())
            ExitProcess(ERROR_BROKEN_PIPE);
        part = InputSize - InputAt < size - done ? InputSize - InputAt : size - done;
        Copy(script + done, Input + InputAt, part);
        InputAt += part;
        done += part;
    }
    return script;
}

/* A line around the output of a script, with a time unless that is zero. It does not begin as those of operations do. */
static void PutMark(const char *what, const char *token, ULONGLONG time)
{
    TEXT line = {0};

    Add(&line, what);
    Add(&line, " ");
    Add(&line, token);
    if (time) {
        Add(&line, " ");
        AddNumber(&line, time);
    }
    Add(&line, "\n");
    PutText(&line);
    Drop(line.data);
}

static void RunScript(char *script)
{
    OP *first;

    BeginLines();
    ForgetLastStatus();
    first = Parse(script);
    if (first == NULL)
        Wrong("main", NULL, NULL, "the script is empty", NULL);
    Run(first);
    if (AnyPending())
        ExitProcess(0);
    EndThreads();
    ForgetPended();
    CloseDevices();
    ReleaseHeld();
    Drop(script);
}

DECLSPEC_NORETURN void Serve(void)
{
    char line[MAX_HEADER], *token;

    while (Header(line)) {
        DWORD size = ReadHeader(line, &token);
        char *script = ReadScript(size);

        PutMark("begin", token, 0);
        RunScript(script);
        PutMark("end", token, Now());
    }
    ExitProcess(0);
    for (;;)  /* not reached */
        ;
}
