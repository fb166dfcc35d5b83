/*
 * labcov.h - what runtime.c (in a measured driver), collector.c (LabCoverage) and the host (lab/coverage/records.py) agree on.
 *
 * All numbers are little-endian. A payload is a sequence of objects, one for each source: the length and the bytes of the name
 * of its .gcda file, then the length and the bytes of that file.
 */
#ifndef LABCOV_H
#define LABCOV_H

#include <ntddk.h>

#define LABCOV_DEVICE L"\\Device\\LabCoverage"
#define LABCOV_LINK L"\\DosDevices\\LabCoverage"
#define LABCOV_VERSION 1
#define LABCOV_NAME_SIZE 64

/* From a driver's DriverEntry: LABCOV_ATTACH in, the number of this load (ULONG) out. */
#define IOCTL_LABCOV_ATTACH CTL_CODE(FILE_DEVICE_UNKNOWN, 0x901, METHOD_BUFFERED, FILE_ANY_ACCESS)
/* From a driver's unload: LABCOV_PUT and the payload in. Ends the attachment. */
#define IOCTL_LABCOV_PUT CTL_CODE(FILE_DEVICE_UNKNOWN, 0x902, METHOD_BUFFERED, FILE_ANY_ACCESS)
/* From the host: takes all records, and delivers the first bytes of them, as many as the buffer holds. */
#define IOCTL_LABCOV_TAKE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x903, METHOD_BUFFERED, FILE_ANY_ACCESS)
/* From the host: an offset (ULONG) in, the bytes from there on out, of the records that were taken last. */
#define IOCTL_LABCOV_MORE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x904, METHOD_BUFFERED, FILE_ANY_ACCESS)

/* Writes a payload of at most `room` bytes; returns the size of the whole one. */
typedef ULONG (NTAPI *LABCOV_DUMP)(UCHAR *buffer, ULONG room);

typedef struct _LABCOV_ATTACH {
    ULONG version;
    CHAR name[LABCOV_NAME_SIZE];  /* of the driver, zero padded */
    LABCOV_DUMP dump;
} LABCOV_ATTACH;

typedef struct _LABCOV_PUT {
    ULONG version;
    ULONG number;                 /* of the load; 0: it was never attached */
    CHAR name[LABCOV_NAME_SIZE];
} LABCOV_PUT;

#define LABCOV_MAGIC 0x564f434c   /* "LCOV" */

/* In front of all records. */
typedef struct _LABCOV_HEAD {
    ULONG magic;
    ULONG version;
    ULONG size;                   /* of all, with this head */
    ULONG records;
} LABCOV_HEAD;

typedef enum _LABCOV_STATE {
    LabcovLive = 0,               /* the counters of a loaded driver */
    LabcovUnloaded = 1,           /* its last counters */
    LabcovLost = 2,               /* there was no memory for them: no payload */
} LABCOV_STATE;

/* In front of each payload; the next record follows at a multiple of four bytes. */
typedef struct _LABCOV_RECORD {
    ULONG size;                   /* of the payload */
    ULONG number;
    ULONG state;
    CHAR name[LABCOV_NAME_SIZE];
} LABCOV_RECORD;

#endif
