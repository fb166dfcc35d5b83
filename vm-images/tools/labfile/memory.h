/*
 * memory.h - numbers of known size, and memory from the process's heap, without a C run-time library.
 */
#ifndef LAB_LABFILE_MEMORY_H
#define LAB_LABFILE_MEMORY_H

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

typedef unsigned char U8;
typedef unsigned int U32;
typedef unsigned __int64 U64;

/* Zeroed. There is no failure: the program ends with ERROR_NOT_ENOUGH_MEMORY. */
void *Take(SIZE_T size);
void Drop(void *memory);

void Copy(void *target, const void *source, SIZE_T size);  /* from the front to the back */

#endif
