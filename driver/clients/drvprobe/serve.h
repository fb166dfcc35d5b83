/*
 * serve.h - scripts one after the other, from standard input.
 */
#ifndef LAB_DRVPROBE_SERVE_H
#define LAB_DRVPROBE_SERVE_H

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

/*
 * Run scripts until the end of the input. Each stands behind a line `run TOKEN SIZE`, SIZE bytes of it. A line `begin TOKEN` says
 * that all of it was read, and `end TOKEN TIME` that it has ended, its handles closed, at this time in microseconds (as those of
 * operations); its output is between them. The process ends with a script that
 * says `exit`, is wrong, or leaves requests pending.
 */
DECLSPEC_NORETURN void Serve(void);

#endif
