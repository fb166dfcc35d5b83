/*
 * pended.c - overlapped reads that go on while the script does: issued, collected, cancelled.
 */
#include "pended.h"

#include "device.h"
#include "report.h"

typedef enum { UNDER_WAY, COLLECTED } STATE;

typedef struct _PENDED {
    struct _PENDED *next;  /* in order of issue */
    const char *handle_name;
    const char *tag;
    HANDLE handle;
    DWORD thread;          /* that issued it: before NT 6.0, only this one can cancel it */
    OVERLAPPED overlapped;
    BYTE *buffer;
    DWORD asked, fill;
    STATE state;
    BOOL claimed;          /* some thread is collecting it */
    BOOL finished;
    BOOL doomed;           /* to be cancelled, where all of a handle's reads must be */
    ULONGLONG start, end;
} PENDED;

typedef BOOL (WINAPI *CANCEL_IO_EX)(HANDLE, LPOVERLAPPED);

static PENDED *FirstPended, **LastPended = &FirstPended;
static CANCEL_IO_EX CancelEx;  /* NULL before NT 6.0 */

void PreparePended(void)
{
#ifndef LAB_WITHOUT_CANCELIOEX /* a build that does without it wherever it runs: for the lab's own tests */
    CancelEx = (CANCEL_IO_EX)(void (*)(void))GetProcAddress(GetModuleHandleW(L"kernel32.dll"), "CancelIoEx");
#endif
}

void DoAsyncRead(const OP *op)
{
    DEVICE *device = Device(op);
    DWORD i;

    for (i = 0; i < op->times; i++) {
        PENDED *pended = Take(sizeof(*pended));
        RESULT result;
        DWORD moved = 0, error = 0;

        pended->handle_name = op->target;
        pended->tag = op->tag;
        pended->handle = device->handle;
        pended->thread = GetCurrentThreadId();
        pended->buffer = Take(op->length);
        pended->asked = op->length;
        pended->fill = op->fill;
        pended->overlapped.hEvent = NewEvent();
        Fill(pended->buffer, op->fill, op->length);

        EnterCriticalSection(&Lock);
        *LastPended = pended;
        LastPended = &pended->next;
        pended->claimed = TRUE;  /* until it is issued */
        LeaveCriticalSection(&Lock);

        result = Started(op);
        pended->start = result.start;
        if (!ReadFile(device->handle, pended->buffer, op->length, NULL, &pended->overlapped))
            error = GetLastError();
        if (error == 0)
            GetOverlappedResult(device->handle, &pended->overlapped, &moved, FALSE);
        result.transfers = TRUE;
        result.asked = op->length;
        result.returned = moved;
        Finish(&result, error);

        EnterCriticalSection(&Lock);
        pended->claimed = FALSE;
        if (error != 0 && error != ERROR_IO_PENDING)
            pended->state = COLLECTED;  /* it never got under way: there is nothing to wait for */
        LeaveCriticalSection(&Lock);
    }
}

static void Collect(const OP *op, PENDED *pended, DWORD error)
{
    RESULT result = {0};
    DWORD moved = 0;

    if (error == 0 && !GetOverlappedResult(pended->handle, &pended->overlapped, &moved, FALSE))
        error = GetLastError();
    result.op = op->verb_name;
    result.thread = Shown(op);
    result.handle = pended->handle_name;
    result.tag = pended->tag;
    result.transfers = TRUE;
    result.asked = pended->asked;
    result.returned = moved;
    result.error = error;
    result.start = pended->start;
    result.end = pended->end;
    if (pended->finished) {  /* the driver may still write to the buffer of one that timed out */
        result.buffer = pended->buffer;
        result.size = pended->asked;
        result.fill = pended->fill;
    }
    Report(&result);
}

static BOOL Matches(const PENDED *pended, const char *target)
{
    return Same(target, "all") || (pended->tag && Same(pended->tag, target));
}

/* Claim what is to be waited for; the number of reads, in order of issue. */
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
        Wrong(op->thread, NULL, op->text, "no read was issued under this tag", op->target);
    return count;
}

/* Wait until one more of these has finished or the time is over, and stamp all that have. FALSE: time over. */
static BOOL WaitMore(PENDED **reads, DWORD count, ULONGLONG deadline)
{
    HANDLE events[MAXIMUM_WAIT_OBJECTS];
    DWORD waiting = 0, waited, i;
    ULONGLONG now = Now();
    ULONGLONG left = now < deadline ? (deadline - now + 999) / 1000 : 0;

    for (i = 0; i < count && waiting < MAXIMUM_WAIT_OBJECTS; i++)
        if (!reads[i]->finished)
            events[waiting++] = reads[i]->overlapped.hEvent;
    waited = WaitForMultipleObjects(waiting, events, FALSE, (DWORD)(left < 0x7FFFFFFF ? left : 0x7FFFFFFF));
    if (waited == WAIT_FAILED)
        ExitProcess(GetLastError());
    now = Now();
    for (i = 0; i < count; i++)
        if (!reads[i]->finished && WaitForSingleObject(reads[i]->overlapped.hEvent, 0) == WAIT_OBJECT_0) {
            reads[i]->finished = TRUE;
            reads[i]->end = now;
        }
    return waited != WAIT_TIMEOUT;
}

/*
 * Lines come in the order of issue; the times in them are those at which each read was seen to end, so that
 * reads which end out of order can be told.
 */
void DoWait(const OP *op)
{
    ULONGLONG deadline = Now() + (ULONGLONG)op->ms * 1000;
    BOOL in_time = TRUE;
    PENDED **reads;
    DWORD count = Claim(op, &reads), at = 0;

    while (at < count) {
        if (!reads[at]->finished && in_time) {
            in_time = WaitMore(reads + at, count - at, deadline);
            continue;
        }
        if (!reads[at]->finished)
            reads[at]->end = Now();
        Collect(op, reads[at], reads[at]->finished ? 0 : WAIT_TIMEOUT);
        EnterCriticalSection(&Lock);
        reads[at]->claimed = FALSE;
        if (reads[at]->finished) {
            reads[at]->state = COLLECTED;
            CloseHandle(reads[at]->overlapped.hEvent);
        }
        LeaveCriticalSection(&Lock);
        at++;
    }
    Drop(reads);
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
        if (pended->doomed && pended->thread != thread)
            Lacks(op, "cancel_one", "without CancelIoEx, this guest cannot cancel the reads of another thread");
    }
    for (pended = FirstPended; pended; pended = pended->next)
        for (other = FirstPended; other && pended->doomed; other = other->next)
            if (!other->doomed && other->handle == pended->handle && other->thread == thread && other->state == UNDER_WAY
                && (ULONG_PTR)STATUS_PENDING == other->overlapped.Internal)
                Lacks(op, "cancel_one", "without CancelIoEx, this guest cannot cancel some reads of a handle and leave the others");
}

/* One read, or all of a handle. */
static DWORD Cancel(HANDLE handle, PENDED *one)
{
    const PENDED *pended = one ? one : FirstPended;
    BOOL done;

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

/* error 0: at least one request to cancel was accepted; `returned` counts them. */
void DoCancel(const OP *op)
{
    RESULT result = Started(op);
    DWORD error = ERROR_NOT_FOUND;
    BOOL all = Same(op->target, "all"), tagged = FALSE, first = TRUE;
    DEVICE *device;
    PENDED *pended;

    result.handle = NULL;
    result.transfers = TRUE;
    EnterCriticalSection(&Lock);
    for (pended = FirstPended; pended && !all; pended = pended->next)
        tagged |= pended->tag && Same(pended->tag, op->target);
    if (CancelEx == NULL)
        PrepareCancelIo(op, tagged);
    for (pended = FirstPended; pended && tagged; pended = pended->next) {
        if (!pended->tag || !Same(pended->tag, op->target))
            continue;
        result.tag = op->target;
        if (pended->state == UNDER_WAY) {
            DWORD one = Cancel(pended->handle, pended);

            result.asked++;
            result.returned += one == 0;
            if (first || one == 0)
                error = one;
            first = FALSE;
        }
    }
    for (device = Devices; device && !tagged; device = device->next) {
        DWORD one;

        if (!device->open || (!all && !Same(device->name, op->target)))
            continue;
        if (!all)
            result.handle = device->name;
        one = Cancel(device->handle, NULL);
        result.asked++;
        result.returned += one == 0;
        if (first || one == 0)
            error = one;
        first = FALSE;
    }
    LeaveCriticalSection(&Lock);
    if (!all && !tagged && result.asked == 0)
        Wrong(op->thread, NULL, op->text, "neither a tag nor a handle", op->target);
    Finish(&result, result.returned ? 0 : error);
}
