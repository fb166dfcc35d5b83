/*
 * labexec: starts commands inside Wine for the WinRM service, which is a Unix process.
 *
 * Why it stays resident: a Unix exit status has 8 bits and a Windows exit code 32, so a process inside Wine has to wait
 * for each command, and a process start costs seconds in an emulated guest; one that is running already costs none.
 * Each command gets a job object, which is what ends it with all its children.
 *
 * Requests come over standard input, little-endian 32-bit words and UTF-16:
 *     size of what follows, operation, number of the command, and strings, each a count of units and the units
 *     1 start      number of the shell, code page (or 0), application (or empty), command line, folder (or empty),
 *                  variables ("NAME=VALUE" with a null after each), stdin, stdout, stderr (paths, "\\?\unix\...")
 *     2 terminate  end the command's processes
 *     3 ctrl-c     4 ctrl-break
 *     5 release    the service is done with the command; what it left running stays until its shell goes
 *     6 end shell  end all that is left of the shell whose number stands in the command's place
 * Answers go to standard output, a line each: "ready", "started N PID", "failed N ERROR", "exit N CODE".
 * End of input ends the launcher, and every job with it.
 */
#include "../../../../driver/common/program.h"
#include "wire.h"
#include "variables.h"

#define MAX_REQUEST (4u << 20)
#define MAX_PROCESSES 512

enum { START = 1, TERMINATE, CTRL_C, CTRL_BREAK, RELEASE, END_SHELL };

struct command {
    struct command *next;
    DWORD number, shell;
    BOOL released;
    HANDLE job;
};

/* The waiting thread's own copy: the command may be forgotten before the thread first runs. */
struct waiter {
    DWORD number;
    HANDLE process;
};

/* JOBOBJECT_BASIC_PROCESS_ID_LIST with room; that one's array has one element, beyond which gcc does not look. */
struct process_list {
    DWORD assigned, listed;
    ULONG_PTR process[MAX_PROCESSES];
};

static struct command *commands; /* used by the main thread alone */

/*
 * The first failure is reported. Its error is read at once: a later call that succeeds may set the last error to 0, as
 * CreateJobObjectW does in Wine, and a failure without an error would not be reported at all.
 */
static void note_failure(DWORD *error)
{
    DWORD last = GetLastError();

    if (!*error)
        *error = last ? last : ERROR_GEN_FAILURE;
}

static HANDLE open_inherited(const WCHAR *path, DWORD access, DWORD *error)
{
    HANDLE file = INVALID_HANDLE_VALUE;
    SECURITY_ATTRIBUTES inherit;

    inherit.nLength = sizeof(inherit);
    inherit.lpSecurityDescriptor = NULL;
    inherit.bInheritHandle = TRUE;
    if (path)
        file = CreateFileW(path, access, FILE_SHARE_READ | FILE_SHARE_WRITE, &inherit, OPEN_EXISTING, 0, NULL);
    else
        SetLastError(ERROR_INVALID_PARAMETER);
    if (file == INVALID_HANDLE_VALUE)
        note_failure(error);
    return file;
}

static DWORD CALLBACK wait_for_exit(void *argument)
{
    struct waiter *waiter = argument;
    DWORD code = 0;

    WaitForSingleObject(waiter->process, INFINITE);
    GetExitCodeProcess(waiter->process, &code);
    answer("exit", 2, waiter->number, code);
    CloseHandle(waiter->process);
    HeapFree(GetProcessHeap(), 0, waiter);
    return 0;
}

static DWORD active_processes(const struct command *command)
{
    JOBOBJECT_BASIC_ACCOUNTING_INFORMATION information;

    if (!QueryInformationJobObject(command->job, JobObjectBasicAccountingInformation, &information, sizeof(information), NULL))
        return 0;
    return information.ActiveProcesses;
}

/* Forgets released commands of which nothing runs any more, and all of a shell that ends. */
static void sweep(DWORD ending_shell)
{
    struct command **link = &commands;

    while (*link) {
        struct command *command = *link;

        if (command->shell == ending_shell)
            TerminateJobObject(command->job, 1);
        if (command->released && (command->shell == ending_shell || !active_processes(command))) {
            *link = command->next;
            CloseHandle(command->job);
            HeapFree(GetProcessHeap(), 0, command);
        } else {
            link = &command->next;
        }
    }
}

static HANDLE make_job(DWORD *error)
{
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits;
    HANDLE job = CreateJobObjectW(NULL, NULL);
    DWORD at;

    if (!job)
        note_failure(error);
    for (at = 0; at < sizeof(limits); at++)
        ((volatile BYTE *)&limits)[at] = 0;
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
    if (job)
        SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof(limits));
    return job;
}

static DWORD create(struct command *command, WCHAR *strings[7])
{
    struct waiter *waiter = HeapAlloc(GetProcessHeap(), 0, sizeof(*waiter));
    STARTUPINFOW startup;
    PROCESS_INFORMATION process;
    HANDLE thread;
    DWORD at, error = 0;

    for (at = 0; at < sizeof(startup); at++)
        ((volatile BYTE *)&startup)[at] = 0;
    startup.cb = sizeof(startup);
    startup.dwFlags = STARTF_USESTDHANDLES;
    startup.hStdInput = open_inherited(strings[4], GENERIC_READ, &error);
    startup.hStdOutput = open_inherited(strings[5], GENERIC_WRITE, &error);
    startup.hStdError = open_inherited(strings[6], GENERIC_WRITE, &error);
    command->job = make_job(&error);
    if (!waiter && !error)
        error = ERROR_NOT_ENOUGH_MEMORY;
    if (!error && !CreateProcessW(strings[0], strings[1], NULL, NULL, TRUE, CREATE_SUSPENDED, NULL, strings[2], &startup,
                                  &process))
        note_failure(&error);
    if (!error) {
        waiter->number = command->number;
        waiter->process = process.hProcess;
        AssignProcessToJobObject(command->job, process.hProcess);
        answer("started", 2, command->number, process.dwProcessId);
        ResumeThread(process.hThread);
        CloseHandle(process.hThread);
        thread = CreateThread(NULL, 65536, wait_for_exit, waiter, 0, NULL);
        if (thread)
            CloseHandle(thread);
        else
            wait_for_exit(waiter);
        waiter = NULL;
    }
    /* Closed before the next command starts, which would inherit them and keep the pipes open. */
    if (startup.hStdInput != INVALID_HANDLE_VALUE)
        CloseHandle(startup.hStdInput);
    if (startup.hStdOutput != INVALID_HANDLE_VALUE)
        CloseHandle(startup.hStdOutput);
    if (startup.hStdError != INVALID_HANDLE_VALUE)
        CloseHandle(startup.hStdError);
    if (waiter)
        HeapFree(GetProcessHeap(), 0, waiter);
    return error;
}

/*
 * On Windows each shell has a console of its own. Here all share the launcher's, because one console costs one conhost
 * process; so its code page is put right before each start, also after a command that used chcp.
 */
static void use_codepage(DWORD codepage)
{
    if (!codepage)
        codepage = GetOEMCP();
    if (GetConsoleOutputCP() != codepage)
        SetConsoleOutputCP(codepage);
    if (GetConsoleCP() != codepage)
        SetConsoleCP(codepage);
}

static void start(DWORD number, struct reader *reader)
{
    struct command *command = HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, sizeof(*command));
    WCHAR *strings[7], **values = NULL;
    DWORD shell = read_word(reader), codepage = read_word(reader), at, count = 0, error;

    for (at = 0; at < 7; at++)
        strings[at] = read_string(reader);
    if (strings[3])
        values = split_values(strings[3], &count);
    if (!command || reader->failed || !strings[1] || (strings[3] && !values)) {
        error = ERROR_INVALID_PARAMETER;
    } else {
        command->number = number;
        command->shell = shell;
        use_codepage(codepage);
        if (values)
            exchange_variables(strings[3], values);
        error = create(command, strings);
        if (values)
            exchange_variables(strings[3], values);
    }
    if (!error) {
        command->next = commands;
        commands = command;
    } else {
        answer("failed", 2, number, error);
        if (command && command->job)
            CloseHandle(command->job);
        if (command)
            HeapFree(GetProcessHeap(), 0, command);
    }
    for (at = 0; at < count; at++)
        release_string(values[at]);
    if (values)
        HeapFree(GetProcessHeap(), 0, values);
    for (at = 0; at < 7; at++)
        release_string(strings[at]);
}

/*
 * Console control events without a console: Windows delivers them by a thread at kernelbase's CtrlRoutine in each
 * process, and so does this. A system module stands at one address in all processes of its kind.
 */
static void interrupt(struct command *command, DWORD event)
{
    struct process_list list;
    LPTHREAD_START_ROUTINE routine =
        (LPTHREAD_START_ROUTINE)(void *)GetProcAddress(GetModuleHandleW(L"kernelbase.dll"), "CtrlRoutine");
    DWORD at;

    if (!routine || !QueryInformationJobObject(command->job, JobObjectBasicProcessIdList, &list, sizeof(list), NULL))
        return;
    for (at = 0; at < list.listed; at++) {
        HANDLE process = OpenProcess(PROCESS_ALL_ACCESS, FALSE, (DWORD)list.process[at]);
        HANDLE thread = process ? CreateRemoteThread(process, NULL, 0, routine, (void *)(ULONG_PTR)event, 0, NULL) : NULL;

        if (thread)
            CloseHandle(thread);
        if (process)
            CloseHandle(process);
    }
}

static void handle(DWORD operation, DWORD number, struct reader *reader)
{
    struct command *command;

    if (operation == START) {
        sweep(0);
        start(number, reader);
        return;
    }
    if (operation == END_SHELL) {
        sweep(number);
        return;
    }
    for (command = commands; command && command->number != number;)
        command = command->next;
    if (!command)
        return;
    if (operation == TERMINATE)
        TerminateJobObject(command->job, 1);
    else if (operation == CTRL_C || operation == CTRL_BREAK)
        interrupt(command, operation == CTRL_C ? CTRL_C_EVENT : CTRL_BREAK_EVENT);
    else if (operation == RELEASE)
        command->released = TRUE;
    if (operation == RELEASE)
        sweep(0);
}

static int Main(void)
{
    struct reader reader;
    BYTE *request;
    DWORD size, operation, number;

    open_wire();
    answer("ready", 0, 0, 0);
    for (;;) {
        if (!read_all(&size, sizeof(size)) || size < 8 || size > MAX_REQUEST)
            break;
        request = HeapAlloc(GetProcessHeap(), 0, size);
        if (!request || !read_all(request, size))
            break;
        reader.at = request;
        reader.end = request + size;
        reader.failed = FALSE;
        operation = read_word(&reader);
        number = read_word(&reader);
        handle(operation, number, &reader);
        HeapFree(GetProcessHeap(), 0, request);
    }
    return 0;
}
