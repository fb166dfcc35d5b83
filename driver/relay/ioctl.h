/* ioctl.h - what programs may ask the print relay's device for; for the driver and for programs alike. */
#ifndef LAB_RELAY_IOCTL_H
#define LAB_RELAY_IOCTL_H

/*
 * Input: 1 to RELAY_TOKEN_MAX printable ASCII characters without blanks, which become a RELAY_MARK record after everything
 * that has been printed. No output. Fails with ERROR_NOT_SUPPORTED (50) where prints of the kernel cannot be relayed, and
 * with ERROR_DEVICE_NOT_CONNECTED (1167) where the machine has no debug console.
 */
#define IOCTL_RELAY_MARK CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_WRITE_ACCESS)

#define RELAY_TOKEN_MAX 128

#endif
