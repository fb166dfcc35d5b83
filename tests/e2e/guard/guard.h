/* guard.h - what programs may ask the guard device for, and its own functions. */
#define IOCTL_GUARD(function) CTL_CODE(FILE_DEVICE_UNKNOWN, 0x900 + (function), METHOD_NEITHER, FILE_ANY_ACCESS)

/* The input of all of them; the output is a ULONG, and the status is that of the exception. */
typedef struct _GUARD_ORDER {
    ULONGLONG address;
    ULONG size;
    ULONG status;
} GUARD_ORDER;

/* Statements of the guarded block itself: a read, a write, a structure; and a copy, and a function. */
#define IOCTL_GUARD_READ IOCTL_GUARD(0)
#define IOCTL_GUARD_WRITE IOCTL_GUARD(1)
#define IOCTL_GUARD_STRUCTURE IOCTL_GUARD(2)
#define IOCTL_GUARD_COPY IOCTL_GUARD(3)
#define IOCTL_GUARD_CALL IOCTL_GUARD(4)
#define IOCTL_GUARD_DIVIDE IOCTL_GUARD(5)
/* What raises: probes of a range (alignment 4), a locked MDL, the status of the order. */
#define IOCTL_GUARD_PROBE_READ IOCTL_GUARD(6)
#define IOCTL_GUARD_PROBE_WRITE IOCTL_GUARD(7)
#define IOCTL_GUARD_LOCK IOCTL_GUARD(8)
#define IOCTL_GUARD_RAISE IOCTL_GUARD(9)
/* Blocks within blocks, and ways out of them: see walks.c. */
#define IOCTL_GUARD_WALK IOCTL_GUARD(10)
/* The same read, guarded by nothing. */
#define IOCTL_GUARD_OPEN IOCTL_GUARD(11)

LONG GuardFilter(PEXCEPTION_POINTERS pointers);
VOID GuardWalk(const GUARD_ORDER *order);
