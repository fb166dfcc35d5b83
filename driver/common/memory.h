/*
 * memory.h - memory from the process's heap, without a C run-time library.
 */
#ifndef LAB_COMMON_MEMORY_H
#define LAB_COMMON_MEMORY_H

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

/* Zeroed. There is no failure: the program ends with ERROR_NOT_ENOUGH_MEMORY. */
void *Take(SIZE_T size);
void Drop(void *memory);

void Copy(void *target, const void *source, SIZE_T size);  /* from the front to the back */
void Fill(BYTE *target, DWORD value, SIZE_T size);

#endif
