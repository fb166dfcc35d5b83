/*
 * Found before the wdmsec.h of mingw-w64, which declares what is in wdmsec.lib, and has no such library.
 *
 * IoCreateDeviceSecure makes the device as IoCreateDevice does: its SDDL and class are not enforced. A test of who may open
 * the device needs a driver built with the driver kit.
 */
#ifndef LAB_WDMSEC_H
#define LAB_WDMSEC_H
#pragma GCC system_header
#include_next <wdmsec.h>

#ifdef __cplusplus
extern "C" {
#endif

static __forceinline NTSTATUS LabCreateDeviceSecure(PDRIVER_OBJECT driver, ULONG extension_size, PUNICODE_STRING name,
                                                    DEVICE_TYPE type, ULONG characteristics, BOOLEAN exclusive,
                                                    PCUNICODE_STRING sddl, LPCGUID device_class, PDEVICE_OBJECT *device)
{
    (void)sddl;
    (void)device_class;
    return IoCreateDevice(driver, extension_size, name, type, characteristics, exclusive, device);
}
#undef IoCreateDeviceSecure
#define IoCreateDeviceSecure LabCreateDeviceSecure

/* https://learn.microsoft.com/windows-hardware/drivers/kernel/sddl-for-device-objects */
#define LAB_SDDL(name, text) static const UNICODE_STRING __attribute__((__unused__)) name = RTL_CONSTANT_STRING(text)
LAB_SDDL(LabSddlKernelOnly, L"D:P");
LAB_SDDL(LabSddlSysAll, L"D:P(A;;GA;;;SY)");
LAB_SDDL(LabSddlSysAllAdmAll, L"D:P(A;;GA;;;SY)(A;;GA;;;BA)");
LAB_SDDL(LabSddlSysAllAdmRx, L"D:P(A;;GA;;;SY)(A;;GRGX;;;BA)");
LAB_SDDL(LabSddlWorldR, L"D:P(A;;GA;;;SY)(A;;GRGWGX;;;BA)(A;;GR;;;WD)");
LAB_SDDL(LabSddlWorldRResR, L"D:P(A;;GA;;;SY)(A;;GRGWGX;;;BA)(A;;GR;;;WD)(A;;GR;;;RC)");
LAB_SDDL(LabSddlWorldRwResR, L"D:P(A;;GA;;;SY)(A;;GRGWGX;;;BA)(A;;GRGW;;;WD)(A;;GR;;;RC)");
LAB_SDDL(LabSddlWorldRwxResRwx, L"D:P(A;;GA;;;SY)(A;;GRGWGX;;;BA)(A;;GRGWGX;;;WD)(A;;GRGWGX;;;RC)");
#define SDDL_DEVOBJ_KERNEL_ONLY LabSddlKernelOnly
#define SDDL_DEVOBJ_SYS_ALL LabSddlSysAll
#define SDDL_DEVOBJ_SYS_ALL_ADM_ALL LabSddlSysAllAdmAll
#define SDDL_DEVOBJ_SYS_ALL_ADM_RX LabSddlSysAllAdmRx
#define SDDL_DEVOBJ_SYS_ALL_ADM_RWX_WORLD_R LabSddlWorldR
#define SDDL_DEVOBJ_SYS_ALL_ADM_RWX_WORLD_R_RES_R LabSddlWorldRResR
#define SDDL_DEVOBJ_SYS_ALL_ADM_RWX_WORLD_RW_RES_R LabSddlWorldRwResR
#define SDDL_DEVOBJ_SYS_ALL_ADM_RWX_WORLD_RWX_RES_RWX LabSddlWorldRwxResRwx

#ifdef __cplusplus
}
#endif
#endif
