/*
 * arguments.h - the words of the command line, without a C run-time library.
 */
#ifndef LAB_COMMON_ARGUMENTS_H
#define LAB_COMMON_ARGUMENTS_H

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

/*
 * The words after the program's own name, by the rules that Microsoft's run-time library has for quotes and backslashes.
 * Returns how many there are; the words live as long as the program.
 */
int Arguments(WCHAR ***words);

#endif
