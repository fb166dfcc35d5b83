/*
 * held.c - memory that is needed until the end of a script.
 */
#include "held.h"

/* In front of each block. Two pointers in size: a block is aligned as one of the heap is. */
typedef struct _HEAD {
    struct _HEAD *next;
    void *unused;
} HEAD;

static CRITICAL_SECTION HeldLock;
static HEAD *Held;

void PrepareHeld(void)
{
    InitializeCriticalSection(&HeldLock);
}

void *Hold(SIZE_T size)
{
    HEAD *head = Take(sizeof(*head) + size);

    EnterCriticalSection(&HeldLock);
    head->next = Held;
    Held = head;
    LeaveCriticalSection(&HeldLock);
    return head + 1;
}

void ReleaseHeld(void)
{
    while (Held) {
        HEAD *next = Held->next;

        Drop(Held);
        Held = next;
    }
}
