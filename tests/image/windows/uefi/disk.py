"""A disk that UEFI firmware starts a program from: one FAT partition, made by QEMU's own FAT driver."""

from __future__ import annotations

from pathlib import Path

from lab.host.process import run

_SOURCE = Path(__file__).with_name("standin.c")
_SECONDS = 120.0


def efi_program(folder: Path) -> Path:
    """Compile the stand-in."""
    target = folder / "standin.efi"
    flags = [
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-ffreestanding",
        "-fno-stack-protector",
        "-mno-stack-arg-probe",
        "-mno-red-zone",
    ]
    link = ["-nostdlib", "-shared", "-Wl,--subsystem,10", "-Wl,--entry,efi_main", "-Wl,--dynamicbase"]
    run(["x86_64-w64-mingw32-gcc", *flags, *link, _SOURCE, "-o", target], _SECONDS)
    return target


def make_disk(program: Path, target: Path, folder: Path) -> Path:
    """Make a qcow2 disk with the program where firmware looks on any disk."""
    tree = folder / "esp"
    place = tree / "EFI" / "BOOT"
    place.mkdir(parents=True)
    (place / "BOOTX64.EFI").write_bytes(program.read_bytes())
    target.unlink(missing_ok=True)
    run(["qemu-img", "convert", "-O", "qcow2", f"fat:{tree}", target], _SECONDS)
    return target
