/*
 * program.h - the start of a program that uses kernel32 alone, with or without a C run-time library.
 *
 * One source of the program includes it and defines Main(), whose value is the program's exit code.
 */
#ifndef LAB_COMMON_PROGRAM_H
#define LAB_COMMON_PROGRAM_H

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

static int Main(void);

#ifdef LAB_FREESTANDING /* the lab's build: no C run-time library */
void Start(void);
void Start(void)
{
    ExitProcess((UINT)Main());
}
#else
int main(void)
{
    return Main();
}
#endif

#endif
