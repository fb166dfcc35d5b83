/*
 * edu.h - what the edu driver and its client say to each other. Registers are QEMU's: docs/specs/edu.rst of its sources.
 */
#ifndef LAB_EDU_H
#define LAB_EDU_H

/* Input and output are one ULONG each, buffered. */
#define EDU_IOCTL(number) CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800 + (number), METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_EDU_IDENTIFY EDU_IOCTL(0)     /* out: identification register */
#define IOCTL_EDU_INVERT EDU_IOCTL(1)       /* in: a value; out: what the liveness register makes of it */
#define IOCTL_EDU_FACTORIAL EDU_IOCTL(2)    /* in: n; out: n! modulo 2^32, computed by the device; polled */
#define IOCTL_EDU_INTERRUPT EDU_IOCTL(3)    /* in: a value that is not 0; out: it, from the interrupt that it raised; pended */
#define IOCTL_EDU_FACTORIAL_BY_INTERRUPT EDU_IOCTL(4)  /* as FACTORIAL, and the device says by an interrupt that it is done */
#define IOCTL_EDU_COPY EDU_IOCTL(5)         /* in: a value; out: it, by DMA into the device and back */

#endif
