/*
 * run.c - runs the operations of a script: one after the other, or at once in threads and processes.
 */
#include "run.h"

#include "device.h"
#include "held.h"
#include "pended.h"
#include "process.h"
#include "report.h"
#include "service.h"
#include "transfer.h"

static HANDLE Barrier;         /* lets them loose */
static LONG volatile Ready;    /* threads that wait for it */
static HANDLE Over;            /* the script is: its threads may end */

/* A thread that was started. */
typedef struct _STARTED {
    struct _STARTED *next;
    HANDLE handle;
} STARTED;

static STARTED *Threads;

static void RunOne(const OP *op)
{
    RESULT result;

    switch (op->verb) {
    case OPEN:
        DoOpen(op);
        break;
    case READ:
    case WRITE:
    case IOCTL:
    case FLUSH:
        DoTransfer(op);
        break;
    case AREAD:
    case AWRITE:
    case AIOCTL:
    case AFLUSH:
        DoAsync(op);
        break;
    case WAIT:
        DoWait(op);
        break;
    case CANCEL:
        DoCancel(op);
        break;
    case CLOSE:
        DoClose(op);
        break;
    case SLEEP:
        result = Started(op);
        Sleep(op->ms);
        Finish(&result, 0);
        break;
    case TICK:
        result = Started(op);
        Finish(&result, 0);
        break;
    case EXIT:
        result = Started(op);
        Finish(&result, 0);
        ExitProcess(op->code);
    case SERVICE:
        DoService(op);
        break;
    case GATE:
        DoGate(op);
        break;
    case GO:  /* Run knows */
        break;
    }
}

/* A thread that ends takes its pended requests with it, and tags outlive `go`: so threads stay, and sleep. */
static DWORD WINAPI ThreadMain(void *context)
{
    const THREAD *thread = (const THREAD *)context;
    const OP *op;

    InterlockedIncrement(&Ready);
    WaitForSingleObject(Barrier, INFINITE);
    for (op = thread->first; op; op = op->next)
        RunOne(op);
    SetEvent(thread->done);
    WaitForSingleObject(Over, INFINITE);
    return 0;
}

/* Start all that are listed, let them loose at once when each of them is ready, wait until all are done. */
static void Go(const OP *op, THREAD *threads)
{
    SECURITY_ATTRIBUTES inherited = {sizeof(inherited), NULL, TRUE};
    HANDLE ready = CreateSemaphoreW(&inherited, 0, 0x7FFFFFFF, NULL);
    DWORD ready_error = GetLastError();
    RESULT result = Started(op);
    THREAD *thread;
    LONG count = 0;

    /* The error of each is read at once: a success after a failure sets the last error to 0. */
    if (ready == NULL)
        ExitProcess(ready_error);
    Ready = 0;
    if (Over == NULL)
        Over = NewEvent();
    Barrier = CreateEventW(&inherited, TRUE, FALSE, NULL);
    if (Barrier == NULL)
        ExitProcess(GetLastError());
    for (thread = threads; thread; thread = thread->next)
        if (thread->process)
            StartProcess(thread, ready, Barrier);
    for (thread = threads; thread; thread = thread->next) {
        STARTED *started;

        if (thread->process)
            continue;
        thread->done = NewEvent();
        started = Hold(sizeof(*started));
        started->handle = CreateThread(NULL, THREAD_STACK, ThreadMain, thread, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
        if (started->handle == NULL)
            ExitProcess(GetLastError());
        started->next = Threads;
        Threads = started;
        count++;
    }
    for (thread = threads; thread; thread = thread->next) {
        HANDLE either[2];

        if (!thread->process)
            continue;
        either[0] = ready;          /* each process adds one, whichever it is */
        either[1] = thread->child;  /* one that has ended will never be ready */
        WaitForMultipleObjects(2, either, FALSE, INFINITE);
    }
    while (Ready < count)
        Sleep(1);
    result.start = Now();
    SetEvent(Barrier);
    for (thread = threads; thread; thread = thread->next) {
        WaitForSingleObject(thread->done, INFINITE);
        CloseHandle(thread->done);
        if (thread->process)
            EndProcess(thread, result.start);
    }
    CloseHandle(Barrier);
    CloseHandle(ready);
    Finish(&result, 0);
}

static void Enlist(THREAD **threads, OP *op)
{
    while (*threads && ((*threads)->process != op->process || !Same((*threads)->name, op->thread)))
        threads = &(*threads)->next;
    if (*threads == NULL) {
        *threads = Hold(sizeof(THREAD));
        (*threads)->name = op->thread;
        (*threads)->process = op->process;
        (*threads)->last = &(*threads)->first;
    }
    op->next = NULL;
    *(*threads)->last = op;
    (*threads)->last = &op->next;
}

void Run(OP *op)
{
    THREAD *threads = NULL;

    while (op) {
        OP *next = op->next;

        if (op->verb == GO) {
            Go(op, threads);
            threads = NULL;
        } else if (op->process || !Same(op->thread, "main")) {
            Enlist(&threads, op);
        } else {
            RunOne(op);
        }
        op = next;
    }
    if (threads)
        Wrong(threads->name, NULL, threads->first->text, "this was never started: go is missing", NULL);
}

void EndThreads(void)
{
    if (Threads == NULL)
        return;
    SetEvent(Over);
    for (; Threads; Threads = Threads->next) {
        WaitForSingleObject(Threads->handle, INFINITE);
        CloseHandle(Threads->handle);
    }
    ResetEvent(Over);
}
