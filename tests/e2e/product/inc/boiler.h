/* What both drivers and their client of the made-up product "boiler" share. */
#pragma once

#define BOILER_TAG 'lioB'
#define METER_LINK L"\\\\.\\LabMeter"
#define IOCTL_METER_LEVEL CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_BUFFERED, FILE_ANY_ACCESS)
