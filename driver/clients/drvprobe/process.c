/*
 * process.c - drvprobes of their own for `$NAME` operations. A process prints through its parent.
 */
#include "process.h"

#include "report.h"
#include "words.h"

static HANDLE HandleOf(DWORD number)
{
    return (HANDLE)(ULONG_PTR)number;
}

void DoGate(const OP *op)
{
    MainName = op->tag;
    ReleaseSemaphore(HandleOf(op->in), 1, NULL);
    WaitForSingleObject(HandleOf(op->out), INFINITE);
}

/* A line of a process, with a number of ours in place of its own. */
static void PassOn(const char *line, SIZE_T size)
{
    TEXT body = {0};
    SIZE_T at = 0;

    while (at < size && line[at] != ',')
        at++;
    if (at == size || line[size - 1] != '}')
        return;  /* cut off: the process ended in the middle of it */
    AddBytes(&body, line + at, size - at - 1);
    PutLine(&body);
    Drop(body.data);
}

/* Until the process ends; a thread for each, so that none is held up by a full pipe. */
static DWORD WINAPI Relay(void *context)
{
    THREAD *process = context;
    TEXT held = {0};
    char block[4096];
    DWORD got = 0;

    while (ReadFile(process->output, block, sizeof(block), &got, NULL) && got) {
        SIZE_T start = 0, at;

        AddBytes(&held, block, got);
        for (at = 0; at < held.length; at++)
            if (held.data[at] == '\n') {
                PassOn(held.data + start, at - start);
                start = at + 1;
            }
        Copy(held.data, held.data + start, held.length - start);
        held.length -= start;
    }
    if (held.data)
        Drop(held.data);
    CloseHandle(process->output);
    return 0;
}

/* A whole argument in quotation marks, by the rules of Microsoft's run-time library. */
static void AddArgument(TEXT *line, const TEXT *argument)
{
    SIZE_T slashes = 0, i;

    Add(line, "\"");
    for (i = 0; i <= argument->length; i++) {
        BOOL ends = i == argument->length;

        if (!ends && argument->data[i] == '\\') {
            slashes++;
        } else {
            /* Backslashes count double ahead of a quotation mark, and the mark takes one more. */
            if (ends || argument->data[i] == '"')
                for (; slashes; slashes--)
                    Add(line, "\\");
            if (!ends && argument->data[i] == '"')
                Add(line, "\\");
            slashes = 0;
        }
        if (!ends)
            AddBytes(line, argument->data + i, 1);
    }
    Add(line, "\"");
}

void StartProcess(THREAD *process, HANDLE ready, HANDLE barrier)
{
    SECURITY_ATTRIBUTES inherited = {sizeof(inherited), NULL, TRUE};
    PROCESS_INFORMATION started = {0};
    STARTUPINFOW startup = {0};
    TEXT script = {0}, line = {0};
    WCHAR *program = Take(32768 * sizeof(WCHAR)), *wide;
    HANDLE theirs;
    const OP *op;
    int size;

    if (!CreatePipe(&process->output, &theirs, &inherited, 0)
        || !SetHandleInformation(process->output, HANDLE_FLAG_INHERIT, 0))
        ExitProcess(GetLastError());

    Add(&script, "gate ");
    AddNumber(&script, (ULONG_PTR)ready);
    Add(&script, " ");
    AddNumber(&script, (ULONG_PTR)barrier);
    Add(&script, " ");
    Add(&script, process->name);
    for (op = process->first; op; op = op->next) {
        const char *text = op->text;

        while (Blank(*text))
            text++;
        while (*text && !Blank(*text))  /* $NAME */
            text++;
        Add(&script, ";");
        Add(&script, text);
    }
    Add(&line, "drvprobe ");
    AddArgument(&line, &script);
    AddBytes(&line, "", 1);
    size = MultiByteToWideChar(CP_UTF8, 0, line.data, -1, NULL, 0);
    wide = Take((SIZE_T)size * sizeof(WCHAR));
    MultiByteToWideChar(CP_UTF8, 0, line.data, -1, wide, size);

    startup.cb = sizeof(startup);
    startup.dwFlags = STARTF_USESTDHANDLES;
    startup.hStdInput = GetStdHandle(STD_INPUT_HANDLE);
    startup.hStdOutput = theirs;
    startup.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    if (!GetModuleFileNameW(NULL, program, 32768)
        || !CreateProcessW(program, wide, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &started))
        ExitProcess(GetLastError());
    CloseHandle(theirs);  /* or the end of the process would not end its pipe */
    CloseHandle(started.hThread);
    process->child = started.hProcess;
    process->done = CreateThread(NULL, THREAD_STACK, Relay, process, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    if (process->done == NULL)
        ExitProcess(GetLastError());
    Drop(script.data);
    Drop(line.data);
    Drop(wide);
    Drop(program);
}

void EndProcess(THREAD *process, ULONGLONG start)
{
    RESULT result = {0};
    DWORD code = 0;

    WaitForSingleObject(process->child, INFINITE);
    GetExitCodeProcess(process->child, &code);
    CloseHandle(process->child);
    if (code == EXIT_WRONG_SCRIPT)
        ExitProcess(EXIT_WRONG_SCRIPT);  /* its own line says what is wrong */
    result.op = "ended";
    result.thread = process->name;
    result.start = start;
    Finish(&result, code);
}
