/* ladle.h - the device control of the driver, and what its two sources share. */
#define IOCTL_LADLE_POUR CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_LADLE_SPILL CTL_CODE(FILE_DEVICE_UNKNOWN, 0x802, METHOD_BUFFERED, FILE_ANY_ACCESS)  /* crashes */
#define LADLE_SIZE 100

NTSTATUS Finish(PIRP irp, NTSTATUS status, ULONG_PTR information);
