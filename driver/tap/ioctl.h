/* ioctl.h - what programs may ask the tap's device for; for the driver and for programs alike. */
#ifndef LAB_TAP_IOCTL_H
#define LAB_TAP_IOCTL_H

/*
 * Input: 1 to TAP_TOKEN_MAX printable ASCII characters without blanks, which become a TAP_MARK record behind everything
 * that has been printed. No output. Fails with ERROR_NOT_SUPPORTED (50) where the kernel cannot be tapped, and with
 * ERROR_DEVICE_NOT_CONNECTED (1167) where the machine has no debug console.
 */
#define IOCTL_TAP_MARK CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_WRITE_ACCESS)

#define TAP_TOKEN_MAX 128

#endif
