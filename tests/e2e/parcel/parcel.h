/* parcel.h - what applications may ask the parcel device for. */
#define PARCEL(function, method, access) CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800 + (function), method, access)

/* The input comes back in upper case; with STATUS_BUFFER_OVERFLOW as much of it as there is room for. */
#define IOCTL_PARCEL_UPPER PARCEL(0, METHOD_BUFFERED, FILE_ANY_ACCESS)
/* The sum of the bytes of both buffers is printed. */
#define IOCTL_PARCEL_SUM PARCEL(1, METHOD_IN_DIRECT, FILE_ANY_ACCESS)
/* The input comes back, the last byte first. */
#define IOCTL_PARCEL_TURN PARCEL(2, METHOD_OUT_DIRECT, FILE_ANY_ACCESS)
/* The same; and the first byte of the input is overwritten with an X. */
#define IOCTL_PARCEL_MARK PARCEL(3, METHOD_NEITHER, FILE_ANY_ACCESS)
/* Waits for the next notice, or for the next write or flush that was held back, whichever was first. */
#define IOCTL_PARCEL_WAIT PARCEL(4, METHOD_BUFFERED, FILE_ANY_ACCESS)
/* Completes the oldest request that waits; the input becomes its output. STATUS_NO_MORE_ENTRIES when none waits. */
#define IOCTL_PARCEL_NOTIFY PARCEL(5, METHOD_BUFFERED, FILE_WRITE_ACCESS)
/* From now on, writes and flushes wait, too. */
#define IOCTL_PARCEL_HOLD PARCEL(6, METHOD_BUFFERED, FILE_ANY_ACCESS)
/* Writes to address 0: a fault. */
#define IOCTL_PARCEL_BREAK PARCEL(7, METHOD_BUFFERED, FILE_ANY_ACCESS)
