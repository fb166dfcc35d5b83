/*
 * source.h - where the script comes from: the command line, a file, or standard input.
 */
#ifndef LAB_DRVPROBE_SOURCE_H
#define LAB_DRVPROBE_SOURCE_H

/* UTF-8 with a zero at its end. */
char *Script(void);

#endif
