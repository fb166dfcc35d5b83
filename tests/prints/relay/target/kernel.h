/* kernel.h - what the stand-in for a kernel (kernel.c) and its loop of orders (serve.c) have of each other. */
#ifndef KERNEL_H
#define KERNEL_H

#include <stdint.h>

/* kernel.c */
void KernelPrint(const char *text, uint32_t length, uint32_t component, uint32_t level);
void KernelLose(uint32_t prints); /* so many come in the middle of the next print, on its own processor: they are given up */
uint32_t KernelMark(const char *token, uint32_t length); /* status of the request */

/* serve.c */
void Serve(void);
uint64_t ServeTime(void); /* 100 ns since the start */

#endif
