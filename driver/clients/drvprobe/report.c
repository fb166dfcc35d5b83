/*
 * report.c - the lines that the program prints, and the clock whose times are in them.
 */
#include "report.h"

const char *MainName = "main";

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

void PutLine(const TEXT *body)
{
    TEXT line = {0};
    SIZE_T done = 0;

    EnterCriticalSection(&OutputLock);
    Add(&line, "{\"seq\":");
    AddNumber(&line, ++Sequence);
    AddBytes(&line, body->data, body->length);
    Add(&line, "}\n");
    while (done < line.length) {
        DWORD written = 0, error = 0;

        if (!WriteFile(GetStdHandle(STD_OUTPUT_HANDLE), line.data + done, (DWORD)(line.length - done), &written, NULL))
            error = GetLastError();
        if (written == 0)
            ExitProcess(error ? error : ERROR_BROKEN_PIPE);  /* nobody reads any more */
        done += written;
    }
    LeaveCriticalSection(&OutputLock);
    Drop(line.data);
}

const char *Shown(const OP *op)
{
    return Same(op->thread, "main") ? MainName : op->thread;
}

RESULT Started(const OP *op)
{
    RESULT result = {0};

    result.op = op->verb_name;
    result.thread = Shown(op);
    result.tag = op->tag;
    result.handle = op->target;
    result.kind = op->kind;
    result.code = op->code;
    result.transfers = op->kind != NULL;
    result.asked = op->asked;
    result.start = Now();
    return result;
}

void Finish(RESULT *result, DWORD error)
{
    result->end = Now();
    result->error = error;
    Report(result);
}

static void AddFlag(TEXT *text, BOOL flag)
{
    Add(text, flag ? "true" : "false");
}

static void AddBuffer(TEXT *text, const BYTE *bytes, DWORD size)
{
    Add(text, "\"");
    AddHex(text, bytes, size);
    Add(text, "\"");
}

void Report(const RESULT *result)
{
    BOOL controls = result->kind && Same(result->kind, "ioctl");
    TEXT body = {0};
    DWORD i;

    Add(&body, ",\"op\":");
    AddWord(&body, result->op);
    Add(&body, ",\"thread\":");
    AddWord(&body, result->thread);
    Add(&body, ",\"handle\":");
    AddWord(&body, result->handle);
    Add(&body, ",\"tag\":");
    AddWord(&body, result->tag);
    Add(&body, ",\"kind\":");
    AddWord(&body, result->kind);
    Add(&body, ",\"code\":");
    if (controls)
        AddNumber(&body, result->code);
    else
        AddWord(&body, NULL);
    if (result->transfers) {
        Add(&body, ",\"asked\":");
        AddNumber(&body, result->asked);
        Add(&body, ",\"returned\":");
        AddNumber(&body, result->returned);
    } else {
        Add(&body, ",\"asked\":null,\"returned\":null");
    }
    Add(&body, ",\"error\":");
    AddNumber(&body, result->error);
    Add(&body, ",\"status\":");
    if (result->has_status)
        AddNumber(&body, result->status);
    else
        AddWord(&body, NULL);
    if (result->input) {
        Add(&body, ",\"input\":");
        AddBuffer(&body, result->input, result->input_size);
        Add(&body, ",\"input_intact\":");
        AddFlag(&body, result->input_intact);
    } else {
        Add(&body, ",\"input\":null,\"input_intact\":null");
    }
    if (result->buffer) {
        Add(&body, ",\"data\":");
        AddBuffer(&body, result->buffer, result->held);
        Add(&body, ",\"text\":");
        for (i = 0; i < result->held && result->buffer[i]; i++)
            ;
        AddString(&body, result->buffer, i);
        Add(&body, ",\"tail_intact\":");
        AddFlag(&body, result->tail_intact);
    } else {
        Add(&body, ",\"data\":null,\"text\":null,\"tail_intact\":null");
    }
    Add(&body, ",\"start_us\":");
    AddNumber(&body, result->start);
    Add(&body, ",\"end_us\":");
    AddNumber(&body, result->end);
    PutLine(&body);
    Drop(body.data);
}

static DECLSPEC_NORETURN void Leave(const char *thread, const char *handle, const char *text, const TEXT *message, const char *needs)
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

DECLSPEC_NORETURN void Lacks(const OP *op, const char *capability, const char *what)
{
    TEXT message = {0};

    Add(&message, what);
    Leave(op->thread, op->target, op->text, &message, capability);
}
