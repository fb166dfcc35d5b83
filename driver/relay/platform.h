/*
 * platform.h - the few functions that differ between a driver (port.c), a program without a system and a test on the host.
 * Each of them brings its own; writer.c calls them and knows nothing else of where it runs. No kernel header is needed.
 */
#ifndef LAB_RELAY_PLATFORM_H
#define LAB_RELAY_PLATFORM_H

/* RelayTime, RelayProcessor and RelayOut are called with interrupts off. */
unsigned long long RelayTime(void);                               /* 100 ns since the start */
unsigned int RelayProcessor(void);                                /* number of the current one */
void RelayOut(const unsigned char *bytes, unsigned int count);    /* to the port, in order */
unsigned long RelayInterruptsOff(void);                           /* returns what RelayInterruptsBack takes */
void RelayInterruptsBack(unsigned long before);
void RelayPause(void);                                            /* between two tries */

#endif
