/*
 * service.h - the service manager, asked from a script.
 */
#ifndef LAB_DRVPROBE_SERVICE_H
#define LAB_DRVPROBE_SERVICE_H

#include "script.h"

/* `returned` of its line is the state of the service after the call: 1 stopped, 3 stop pending, 4 running. */
void DoService(const OP *op);

#endif
