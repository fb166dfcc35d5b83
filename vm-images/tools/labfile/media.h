/*
 * media.h - drives whose media come and go, such as a CD drive.
 */
#ifndef LAB_LABFILE_MEDIA_H
#define LAB_LABFILE_MEDIA_H

#include "base.h"

/* `labfile drive SECONDS NAME`: waits for the drive that has NAME at its top, and prints it. */
void Drive(DWORD seconds, const WCHAR *name);

/* `labfile fetch SECONDS NAME DIR`: the same, then copies all of the drive but NAME. */
void Fetch(DWORD seconds, const WCHAR *mark, const WCHAR *target);

#endif
