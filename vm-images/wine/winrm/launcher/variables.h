/* Environment variables for one command. */
#ifndef VARIABLES_H
#define VARIABLES_H

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

/* Copies of the values of a block, for exchange_variables; count says how many. NULL when there is no memory. */
WCHAR **split_values(const WCHAR *block, DWORD *count);

/*
 * Sets the variables of a block ("NAME=VALUE" with a null after each) in this process, which the command inherits.
 * Each value is exchanged for what the variable had before, so a second call undoes the first.
 */
void exchange_variables(WCHAR *block, WCHAR **values);

#endif
