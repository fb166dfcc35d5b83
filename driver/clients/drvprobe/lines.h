/*
 * lines.h - the lines that the program prints, the clock whose times are in them, and the line of an error.
 */
#ifndef LAB_DRVPROBE_LINES_H
#define LAB_DRVPROBE_LINES_H

#include "text.h"

#define EXIT_WRONG_SCRIPT 2

/* Before the first line. */
void PrepareOutput(void);

/* Microseconds of QueryPerformanceCounter. */
ULONGLONG Now(void);

/* At the beginning of a script: its lines count from 1. */
void BeginLines(void);

/* Bytes as they are, at once. */
void PutText(const TEXT *text);

/* `{"seq":n,` + body + `}` and a newline, in one write. */
void PutLine(const TEXT *body);

/* The line of an error, and the end of the program. `needs` is the capability that the guest would need, or NULL. */
DECLSPEC_NORETURN void Leave(const char *thread, const char *handle, const char *text, const TEXT *message, const char *needs);

/* The script is wrong: say where and leave. */
DECLSPEC_NORETURN void Wrong(const char *thread, const char *handle, const char *text, const char *what, const char *word);

#endif
