/*
 * source.h - where the script comes from: the command line, a file, or standard input.
 */
#ifndef LAB_DRVPROBE_SOURCE_H
#define LAB_DRVPROBE_SOURCE_H

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

/* Whether the command line asks for scripts one after the other, see serve.h. */
BOOL AskedToServe(void);

/* UTF-8 with a zero at its end. */
char *Script(void);

#endif
