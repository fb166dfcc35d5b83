/* A counter at which requests wait in line. */
#define COUNTER(number, method) CTL_CODE(FILE_DEVICE_UNKNOWN, 0x900 + (number), method, FILE_ANY_ACCESS)
#define IOCTL_WAIT COUNTER(0, METHOD_BUFFERED)        /* waits in line */
#define IOCTL_NEXT COUNTER(1, METHOD_BUFFERED)        /* completes the one in front */
#define IOCTL_LAST COUNTER(2, METHOD_BUFFERED)        /* completes the one that came last, by its context */
#define IOCTL_TURN COUNTER(3, METHOD_NEITHER)         /* the output is the input from its end to its beginning */
#define IOCTL_RING COUNTER(4, METHOD_BUFFERED)        /* sets an event: a HANDLE */
