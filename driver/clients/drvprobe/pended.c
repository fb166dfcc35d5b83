/*
 * pended.c - transfers that go on while the script does: issued, collected, cancelled.
 */
#include "pended.h"

#include "device.h"
#include "held.h"
#include "process.h"
#include "report.h"
#include "status.h"
#include "transfer.h"

#define FLUSH_BEGINS_MS 1000  /* within which a flush that was issued is in the driver */
#define SLICE_MS 10           /* of a wait for more transfers than one call of Windows waits for */

typedef enum { UNDER_WAY, COLLECTED } STATE;

typedef struct _PENDED {
    struct _PENDED *next;  /* in order of issue */
    const char *handle_name;
    const char *tag;
    HANDLE handle;
    DWORD thread;          /* that issued it: before NT 6.0, only this one can cancel it */
    HANDLE flusher;        /* thread that waits in FlushFileBuffers; NULL for the others, which are overlapped */
    RESULT flushed;        /* error and status of the flush, once it has ended */
    OVERLAPPED overlapped;
    TRANSFER transfer;
    STATE state;
    BOOL claimed;          /* some thread is collecting it */
    BOOL finished;
    BOOL doomed;           /* to be cancelled, where all of a handle's transfers must be */
    ULONGLONG start, end;
} PENDED;

typedef BOOL (WINAPI *CANCEL_IO_EX)(HANDLE, LPOVERLAPPED);
typedef BOOL (WINAPI *CANCEL_SYNCHRONOUS_IO)(HANDLE);

static PENDED *FirstPended, **LastPended = &FirstPended;
static CANCEL_IO_EX CancelEx;  /* NULL before NT 6.0 */
static CANCEL_SYNCHRONOUS_IO CancelSync;

void PreparePended(void)
{
#ifndef LAB_WITHOUT_CANCELIOEX /* a build that does without it wherever it runs: for the lab's own tests */
    HMODULE kernel32 = GetModuleHandleW(L"kernel32.dll");

    CancelEx = (CANCEL_IO_EX)(void (*)(void))GetProcAddress(kernel32, "CancelIoEx");
    CancelSync = (CANCEL_SYNCHRONOUS_IO)(void (*)(void))GetProcAddress(kernel32, "CancelSynchronousIo");
#endif
}

/* Windows has no overlapped flush: a thread waits for it. */
static DWORD WINAPI Flush(void *context)
{
    PENDED *pended = context;

    pended->flushed.error = BeginTransfer(&pended->transfer, pended->handle, NULL, NULL);
    SetLastStatus(&pended->flushed, pended->flushed.error);
    pended->overlapped.Internal = 0;  /* it has ended */
    SetEvent(pended->overlapped.hEvent);
    return 0;
}

/* The error of the issue; what it moved, where it has ended already. */
static DWORD Issue(PENDED *pended, DWORD *moved)
{
    DWORD error;

    if (pended->transfer.op->verb == AFLUSH) {
        pended->overlapped.Internal = (ULONG_PTR)STATUS_PENDING;
        pended->flusher = CreateThread(NULL, THREAD_STACK, Flush, pended, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
        if (pended->flusher == NULL)
            ExitProcess(GetLastError());
        return ERROR_IO_PENDING;
    }
    error = BeginTransfer(&pended->transfer, pended->handle, NULL, &pended->overlapped);
    if (error == 0)
        GetOverlappedResult(pended->handle, &pended->overlapped, moved, FALSE);
    else if (error != ERROR_IO_PENDING)
        *moved = MovedAtOnce(&pended->overlapped);
    return error;
}

void DoAsync(const OP *op)
{
    DEVICE *device = Device(op);
    DWORD i;

    if (!device->overlapped && op->verb != AFLUSH)
        Wrong(op->thread, op->target, op->text, "this handle was opened without overlapped=1", op->target);
    for (i = 0; i < op->times; i++) {
        PENDED *pended = Hold(sizeof(*pended));
        RESULT result;
        DWORD moved = 0, error;
        BOOL over;

        pended->handle_name = op->target;
        pended->tag = op->tag;
        pended->handle = device->handle;
        pended->thread = GetCurrentThreadId();
        pended->overlapped.hEvent = NewEvent();
        PrepareTransfer(&pended->transfer, op);

        EnterCriticalSection(&Lock);
        *LastPended = pended;
        LastPended = &pended->next;
        pended->claimed = TRUE;  /* until it is issued */
        LeaveCriticalSection(&Lock);

        result = Started(op);
        pended->start = result.start;
        error = Issue(pended, &moved);
        if (error == ERROR_IO_PENDING)
            SetStatus(&result, (ULONG_PTR)STATUS_PENDING);
        else
            SetLastStatus(&result, error);
        result.returned = moved;
        over = error != 0 && error != ERROR_IO_PENDING;
        if (over)
            ShowBuffers(&pended->transfer, &result);  /* no wait will tell of it */
        Finish(&result, error);

        EnterCriticalSection(&Lock);
        pended->claimed = FALSE;
        if (over)
            pended->state = COLLECTED;  /* it never got under way: there is nothing to wait for */
        LeaveCriticalSection(&Lock);
    }
}

static void Collect(const OP *op, PENDED *pended, DWORD error)
{
    const OP *issued = pended->transfer.op;
    RESULT result = {0};
    DWORD moved = 0;

    if (pended->flusher && error == 0) {
        error = pended->flushed.error;
        result.has_status = pended->flushed.has_status;
        result.status = pended->flushed.status;
    } else if (error == 0) {
        if (!GetOverlappedResult(pended->handle, &pended->overlapped, &moved, FALSE))
            error = GetLastError();
        SetStatus(&result, pended->overlapped.Internal);
    }
    result.op = op->verb_name;
    result.thread = Shown(op);
    result.handle = pended->handle_name;
    result.tag = pended->tag;
    result.kind = issued->kind;
    result.code = issued->code;
    result.transfers = TRUE;
    result.asked = issued->asked;
    result.returned = moved;
    result.error = error;
    result.start = pended->start;
    result.end = pended->end;
    if (pended->finished)  /* the driver may still write to the buffer of one that timed out */
        ShowBuffers(&pended->transfer, &result);
    Report(&result);
}

static BOOL Matches(const PENDED *pended, const char *target)
{
    return Same(target, "all") || (pended->tag && Same(pended->tag, target));
}

/* Claim what is to be waited for; the number of transfers, in order of issue. */
static DWORD Claim(const OP *op, PENDED ***claimed)
{
    DWORD count = 0, known = 0;
    PENDED *pended;

    EnterCriticalSection(&Lock);
    for (pended = FirstPended; pended; pended = pended->next)
        count++;
    *claimed = Take(count * sizeof(**claimed));
    count = 0;
    for (pended = FirstPended; pended; pended = pended->next) {
        if (!Matches(pended, op->target))
            continue;
        known++;
        if (pended->state == UNDER_WAY && !pended->claimed) {
            pended->claimed = TRUE;
            (*claimed)[count++] = pended;
        }
    }
    LeaveCriticalSection(&Lock);
    if (known == 0 && !Same(op->target, "all"))
        Wrong(op->thread, NULL, op->text, "nothing was issued under this tag", op->target);
    return count;
}

/*
 * Wait until one more of these has finished or some of the time is over, and stamp all that have. FALSE: all time is over.
 * Those that the wait itself has no room for are looked at after each slice of it.
 */
static BOOL WaitMore(PENDED **these, DWORD count, ULONGLONG deadline)
{
    HANDLE events[MAXIMUM_WAIT_OBJECTS];
    DWORD waiting = 0, waited, i;
    ULONGLONG now = Now();
    ULONGLONG left = now < deadline ? (deadline - now + 999) / 1000 : 0;

    for (i = 0; i < count && waiting < MAXIMUM_WAIT_OBJECTS; i++)
        if (!these[i]->finished)
            events[waiting++] = these[i]->overlapped.hEvent;
    if (i < count && left > SLICE_MS)
        left = SLICE_MS;
    waited = WaitForMultipleObjects(waiting, events, FALSE, (DWORD)(left < 0x7FFFFFFF ? left : 0x7FFFFFFF));
    if (waited == WAIT_FAILED)
        ExitProcess(GetLastError());
    now = Now();
    for (i = 0; i < count; i++)
        if (!these[i]->finished && WaitForSingleObject(these[i]->overlapped.hEvent, 0) == WAIT_OBJECT_0) {
            these[i]->finished = TRUE;
            these[i]->end = now;
        }
    return waited != WAIT_TIMEOUT || now < deadline;
}

/*
 * Lines come in the order of issue; the times in them are those at which each was seen to end, so that
 * the order of the ends can be read from them.
 */
void DoWait(const OP *op)
{
    ULONGLONG deadline = Now() + (ULONGLONG)op->ms * 1000;
    BOOL in_time = TRUE;
    PENDED **these;
    DWORD count = Claim(op, &these), at = 0;

    while (at < count) {
        if (!these[at]->finished && in_time) {
            in_time = WaitMore(these + at, count - at, deadline);
            continue;
        }
        if (!these[at]->finished)
            these[at]->end = Now();
        Collect(op, these[at], these[at]->finished ? 0 : WAIT_TIMEOUT);
        EnterCriticalSection(&Lock);
        these[at]->claimed = FALSE;
        if (these[at]->finished) {
            these[at]->state = COLLECTED;
            CloseHandle(these[at]->overlapped.hEvent);
            these[at]->overlapped.hEvent = NULL;
        }
        LeaveCriticalSection(&Lock);
        at++;
    }
    Drop(these);
}

/*
 * Before NT 6.0 there is only CancelIo, which ends all that the calling thread has issued on a handle, and nothing else. It
 * will do where that is exactly what was asked for. Where it would end more or less, nothing is ended, and the script is
 * left: the guest cannot do it. A read that has ended and was not waited for is none of its business.
 */
static void PrepareCancelIo(const OP *op, BOOL tagged)
{
    DWORD thread = GetCurrentThreadId();
    const PENDED *other;
    PENDED *pended;

    for (pended = FirstPended; pended; pended = pended->next) {
        const char *name = tagged ? pended->tag : pended->handle_name;

        pended->doomed = pended->state == UNDER_WAY && (ULONG_PTR)STATUS_PENDING == pended->overlapped.Internal
            && (Same(op->target, "all") || (name && Same(name, op->target)));
        if (pended->doomed && pended->flusher)
            Lacks(op, "cancel_one", "without CancelSynchronousIo, this guest cannot cancel a flush");
        if (pended->doomed && pended->thread != thread)
            Lacks(op, "cancel_one", "without CancelIoEx, this guest cannot cancel the requests of another thread");
    }
    for (pended = FirstPended; pended; pended = pended->next)
        for (other = FirstPended; other && pended->doomed; other = other->next)
            if (!other->doomed && other->handle == pended->handle && other->thread == thread && other->state == UNDER_WAY
                && (ULONG_PTR)STATUS_PENDING == other->overlapped.Internal)
                Lacks(op, "cancel_one", "without CancelIoEx, this guest cannot cancel some requests of a handle and leave the others");
}

/*
 * Its thread may be on its way into the call, where there is nothing to cancel yet. Called with Lock held, which others get
 * between two tries.
 */
static DWORD CancelFlush(const PENDED *flush)
{
    ULONGLONG deadline = Now() + FLUSH_BEGINS_MS * 1000;
    DWORD error = ERROR_NOT_FOUND;

    while (flush->state == UNDER_WAY) {
        if (CancelSync(flush->flusher))
            return 0;
        error = GetLastError();
        if (error != ERROR_NOT_FOUND || (ULONG_PTR)STATUS_PENDING != flush->overlapped.Internal || Now() >= deadline)
            break;
        LeaveCriticalSection(&Lock);
        Sleep(1);
        EnterCriticalSection(&Lock);
    }
    return error;
}

/* One transfer, or all of a handle. */
static DWORD Cancel(HANDLE handle, PENDED *one)
{
    const PENDED *pended = one ? one : FirstPended;
    BOOL done;

    if (one && one->flusher)
        return CancelSync ? CancelFlush(one) : ERROR_NOT_FOUND;  /* without, PrepareCancelIo has let only ended ones pass */
    if (CancelEx) {
        done = CancelEx(handle, one ? &one->overlapped : NULL);
    } else {
        while (pended && !(pended->doomed && pended->handle == handle))
            pended = one ? NULL : pended->next;
        if (pended == NULL)
            return ERROR_NOT_FOUND;
        done = CancelIo(handle);
    }
    return done ? 0 : GetLastError();
}

static void CountRequest(RESULT *result, DWORD *error, DWORD one)
{
    if (result->asked == 0 || one == 0)
        *error = one;
    result->asked++;
    result->returned += one == 0;
}

/* error 0: at least one request to cancel was accepted; `returned` counts them. */
void DoCancel(const OP *op)
{
    RESULT result = Started(op);
    DWORD error = ERROR_NOT_FOUND;
    BOOL all = Same(op->target, "all"), tagged = FALSE;
    DEVICE *device;
    PENDED *pended, **end;

    result.handle = NULL;
    result.transfers = TRUE;
    EnterCriticalSection(&Lock);
    end = LastPended;  /* what is issued while Lock is given up is not meant */
    for (pended = FirstPended; pended && !all; pended = pended->next)
        tagged |= pended->tag && Same(pended->tag, op->target);
    if (CancelEx == NULL)
        PrepareCancelIo(op, tagged);
    if (tagged)
        result.tag = op->target;
    for (pended = FirstPended; pended; pended = &pended->next == end ? NULL : pended->next) {
        const char *name = tagged ? pended->tag : pended->handle_name;
        BOOL meant = all || (name && Same(name, op->target));

        /* Those that share a handle are cancelled with it, but for a flush, which may not have reached it yet. */
        if (meant && pended->state == UNDER_WAY && (tagged || (pended->flusher && CancelSync)))
            CountRequest(&result, &error, Cancel(pended->handle, pended));
    }
    for (device = Devices; device && !tagged; device = device->next) {
        if (!device->open || (!all && !Same(device->name, op->target)))
            continue;
        if (!all)
            result.handle = device->name;
        CountRequest(&result, &error, Cancel(device->handle, NULL));
    }
    LeaveCriticalSection(&Lock);
    if (!all && !tagged && result.asked == 0)
        Wrong(op->thread, NULL, op->text, "neither a tag nor a handle", op->target);
    Finish(&result, result.returned ? 0 : error);
}

BOOL AnyPending(void)
{
    const PENDED *pended = FirstPended;

    /* By the event: Wine writes the status of a request that has ended only when its thread waits for something. */
    while (pended && (pended->state != UNDER_WAY || WaitForSingleObject(pended->overlapped.hEvent, 0) == WAIT_OBJECT_0))
        pended = pended->next;
    return pended != NULL;
}

void ForgetPended(void)
{
    PENDED *pended;

    for (pended = FirstPended; pended; pended = pended->next) {
        if (pended->flusher) {
            WaitForSingleObject(pended->flusher, INFINITE);  /* it has ended, or is about to: see Flush */
            CloseHandle(pended->flusher);
        }
        if (pended->overlapped.hEvent)
            CloseHandle(pended->overlapped.hEvent);
        DropTransfer(&pended->transfer);
    }
    FirstPended = NULL;
    LastPended = &FirstPended;
}
