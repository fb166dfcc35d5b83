/*
 * lines.c - the lines that the program prints, the clock whose times are in them, and the line of an error.
 */
#include "lines.h"

static CRITICAL_SECTION OutputLock;  /* one line at a time */
static DWORD Sequence;

void PrepareOutput(void)
{
    InitializeCriticalSection(&OutputLock);
}

ULONGLONG Now(void)
{
    LARGE_INTEGER count, frequency;
    ULONGLONG c, f;

    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&frequency);
    c = (ULONGLONG)count.QuadPart;
    f = (ULONGLONG)frequency.QuadPart;
    return c / f * 1000000 + c % f * 1000000 / f;  /* in two parts: the product alone would overflow */
}

void BeginLines(void)
{
    Sequence = 0;
}

void PutText(const TEXT *text)
{
    SIZE_T done = 0;

    while (done < text->length) {
        DWORD written = 0, error = 0;

        if (!WriteFile(GetStdHandle(STD_OUTPUT_HANDLE), text->data + done, (DWORD)(text->length - done), &written, NULL))
            error = GetLastError();
        if (written == 0)
            ExitProcess(error ? error : ERROR_BROKEN_PIPE);  /* the reader is gone */
        done += written;
    }
}

void PutLine(const TEXT *body)
{
    TEXT line = {0};

    EnterCriticalSection(&OutputLock);
    Add(&line, "{\"seq\":");
    AddNumber(&line, ++Sequence);
    AddBytes(&line, body->data, body->length);
    Add(&line, "}\n");
    PutText(&line);
    LeaveCriticalSection(&OutputLock);
    Drop(line.data);
}

DECLSPEC_NORETURN void Leave(const char *thread, const char *handle, const char *text, const TEXT *message, const char *needs)
{
    TEXT body = {0};

    Add(&body, ",\"op\":\"error\",\"thread\":");
    AddWord(&body, thread);
    Add(&body, ",\"handle\":");
    AddWord(&body, handle);
    Add(&body, ",\"message\":");
    AddString(&body, (const BYTE *)message->data, message->length);
    Add(&body, ",\"text\":");
    AddWord(&body, text);
    Add(&body, ",\"needs\":");
    AddWord(&body, needs);
    PutLine(&body);
    ExitProcess(EXIT_WRONG_SCRIPT);
    for (;;)  /* not reached */
        ;
}

DECLSPEC_NORETURN void Wrong(const char *thread, const char *handle, const char *text, const char *what, const char *word)
{
    TEXT message = {0};

    Add(&message, what);
    if (word) {
        Add(&message, ": ");
        Add(&message, word);
    }
    Leave(thread, handle, text, &message, NULL);
}
