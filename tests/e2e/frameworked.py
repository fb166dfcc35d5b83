"""A finished driver that imports from a module which no stand-in for NT's kernel has: the loader of the driver framework."""

from __future__ import annotations

import subprocess
from pathlib import Path

NAME = "frameworked"

_SOURCE = """
#include <ntddk.h>
static VOID NTAPI Unload(PDRIVER_OBJECT driver) { UNREFERENCED_PARAMETER(driver); }
__declspec(dllimport) NTSTATUS NTAPI WdfVersionBind(PVOID);
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    UNREFERENCED_PARAMETER(path);
    driver->DriverUnload = Unload;
    return WdfVersionBind(NULL);
}
static const void *const anchor __attribute__((used, section(".rdata"))) = &anchor;
"""


def write_frameworked(folder: Path) -> Path:
    """Build the driver in a new folder of its own, with a manifest beside it; returns that folder."""
    place = folder / NAME
    place.mkdir()
    (place / "a.def").write_text("LIBRARY wdfldr.sys\nEXPORTS\nWdfVersionBind\n")
    (place / "a.c").write_text(_SOURCE)
    run = ["x86_64-w64-mingw32-dlltool", "-d", "a.def", "-l", "libwdfldr.a"]
    subprocess.run(run, cwd=place, check=True, timeout=60)
    prefix = "/usr/x86_64-w64-mingw32/include/ddk"
    link = ["-nostdlib", "-Wl,--subsystem,native:5.2", "-Wl,--entry,DriverEntry", "-Wl,--dynamicbase", "-L."]
    compile_ = ["x86_64-w64-mingw32-gcc", "-s", "-O2", "-D_WIN32_WINNT=0x0600", "-ffreestanding", "-Wno-array-bounds"]
    command = [*compile_, f"-I{prefix}", *link, "-o", f"{NAME}.sys", "a.c", "-lwdfldr", "-lntoskrnl"]
    subprocess.run(command, cwd=place, check=True, timeout=60)
    (place / "driver.yaml").write_text(f"name: {NAME}\nimage: {NAME}.sys\n", encoding="utf-8")
    return place
