/* walks.c - in which order the blocks of __try, __except and __finally are walked through. `step` counts on the way. */
#include <ntddk.h>

#include "guard.h"

static VOID Inner(const GUARD_ORDER *order, PULONG step)
{
    try {
        *step += 1;
        *step += *(ULONG *)(ULONG_PTR)order->address;
        *step += 1000;
    } finally {
        *step += 10;
        DbgPrint("guard: inner finally, step %u, abnormal %u\n", *step, AbnormalTermination() != 0);
    }
}

/* Through a function that only has a __finally, past a handler that does not want it, to one that does. */
static VOID Through(const GUARD_ORDER *order)
{
    ULONG step = 0;

    __try {
        __try {
            step += 100;
            Inner(order, &step);
        } __except (GetExceptionCode() == STATUS_INTEGER_DIVIDE_BY_ZERO ? EXCEPTION_EXECUTE_HANDLER : EXCEPTION_CONTINUE_SEARCH) {
            DbgPrint("guard: the wrong handler\n");
        }
    } __except (GuardFilter(GetExceptionInformation())) {
        DbgPrint("guard: outer handler %08x, step %u\n", GetExceptionCode(), step);
        __try {
            ExRaiseStatus(STATUS_DISK_FULL);
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            DbgPrint("guard: within a handler %08x\n", GetExceptionCode());
        }
    }
}

/* A handler within a __finally of the same function: that runs once, behind it, and is no abnormal end. */
static VOID Around(const GUARD_ORDER *order)
{
    ULONG step = 0;

    __try {
        __try {
            step = 1;
            step += *(ULONG *)(ULONG_PTR)order->address;
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            step += 10;
            DbgPrint("guard: handled %08x, step %u\n", GetExceptionCode(), step);
        }
        step += 100;
    } __finally {
        DbgPrint("guard: outer finally, step %u, abnormal %u\n", step, AbnormalTermination() != 0);
    }
}

/* Ways out without an exception: to the end, by leave, by return, by continue. */
static ULONG Ways(ULONG way)
{
    ULONG round, step = 0;

    for (round = 0; round < 2; round++) {
        __try {
            if (way == 1)
                __leave;
            if (way == 2)
                return step;
            if (way == 3)
                continue;
            step += 1;
        } __finally {
            step += 10;
            DbgPrint("guard: way %u, step %u, abnormal %u\n", way, step, AbnormalTermination() != 0);
        }
    }
    return step;
}

VOID GuardWalk(const GUARD_ORDER *order)
{
    ULONG way;

    Through(order);
    Around(order);
    for (way = 0; way < 4; way++)
        Ways(way);
}
