/*
 * sum.h - sum lines: SHA-256, two blanks, size, two blanks, path.
 */
#ifndef LAB_LABFILE_SUM_H
#define LAB_LABFILE_SUM_H

#include "sha256.h"

/* The line of one file on standard output. Ends the hash. */
void PrintSum(SHA256 *hash, const char *name);

/* `labfile sum PATH`: the lines of one file, or of all in a folder. */
void Sum(const WCHAR *path);

#endif
