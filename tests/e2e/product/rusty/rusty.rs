//! A driver without a C compiler: what the lab gets of it is a finished file with its symbols.
#![no_std]
#![no_main]

use core::panic::PanicInfo;

#[repr(C)]
pub struct UnicodeString {
    length: u16,
    maximum_length: u16,
    buffer: *mut u16,
}

/// As far as it is needed: the unload routine's place in a DRIVER_OBJECT for x64.
#[repr(C)]
pub struct DriverObject {
    before: [u8; 0x68],
    unload: Option<unsafe extern "system" fn(*mut DriverObject)>,
}

extern "C" {
    fn DbgPrint(format: *const u8, ...) -> u32;
}

#[panic_handler]
fn panic(_info: &PanicInfo) -> ! {
    loop {}
}

#[inline(never)]
fn twice(value: u32) -> u32 {
    if value == 0 {
        unsafe { core::ptr::null_mut::<u32>().write_volatile(1) }; // the line of the fault
    }
    value * 2
}

unsafe extern "system" fn unload(_driver: *mut DriverObject) {
    DbgPrint("rusty: unloaded\n\0".as_ptr());
}

#[no_mangle]
pub unsafe extern "system" fn DriverEntry(driver: *mut DriverObject, _path: *mut UnicodeString) -> i32 {
    (*driver).unload = Some(unload);
    let value = if cfg!(faulty) { 0 } else { 21 };
    DbgPrint("rusty: %u\n\0".as_ptr(), twice(value));
    0
}
