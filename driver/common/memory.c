/*
 * memory.c - memory from the process's heap, and what the compiler calls where there is no C run-time library.
 */
#include "memory.h"

#ifdef LAB_FREESTANDING /* the compiler calls these two on its own */
void *memcpy(void *target, const void *source, size_t size)
{
    char *to = target;
    const char *from = source;

    while (size--)
        *to++ = *from++;
    return target;
}

void *memset(void *target, int value, size_t size)
{
    char *to = target;

    while (size--)
        *to++ = (char)value;
    return target;
}
#endif

void *Take(SIZE_T size)
{
    void *memory = HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, size ? size : 1);

    if (memory == NULL)
        ExitProcess(ERROR_NOT_ENOUGH_MEMORY);
    return memory;
}

void Drop(void *memory)
{
    HeapFree(GetProcessHeap(), 0, memory);
}

void Copy(void *target, const void *source, SIZE_T size)
{
    SIZE_T i;

    for (i = 0; i < size; i++)
        ((char *)target)[i] = ((const char *)source)[i];
}

void Fill(BYTE *target, DWORD value, SIZE_T size)
{
    while (size--)
        *target++ = (BYTE)value;
}
