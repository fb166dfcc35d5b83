"""Media that UEFI firmware starts the stand-in from; their FAT file systems are made by QEMU's own FAT driver."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pycdlib

from lab.host.process import run
from tests.image.windows.media import wim, wim_xml

_SOURCE = Path(__file__).with_name("standin.c")
_SECONDS = 120.0
_SECTOR = 512
_EFI_PLATFORM = 0xEF


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
    target.unlink(missing_ok=True)
    run(["qemu-img", "convert", "-O", "qcow2", f"fat:{_tree(program, folder / 'esp')}", target], _SECONDS)
    return target


def make_windows_cd(program: Path, target: Path, folder: Path, editions: Sequence[str]) -> Path:
    """Make a CD that UEFI firmware starts the stand-in from, and that looks like Windows' own: UDF, with an install.wim."""
    raw = folder / "disk.raw"
    run(["qemu-img", "convert", "-O", "raw", f"fat:{_tree(program, folder / 'installed')}", raw], _SECONDS)
    tree = _tree(program, folder / "cd")
    (tree / "DISK.DAT").write_bytes(_sectors(raw))
    boot = folder / "boot.img"
    run(["qemu-img", "convert", "-O", "raw", f"fat:floppy:{tree}", boot], _SECONDS)
    iso: Any = pycdlib.PyCdlib()
    iso.new(interchange_level=3, udf="2.60", vol_ident="STANDIN")
    iso.add_directory("/SOURCES", udf_path="/sources")
    data = wim(wim_xml(editions))
    iso.add_fp(io.BytesIO(data), len(data), "/SOURCES/INSTALL.WIM;1", udf_path="/sources/install.wim")
    iso.add_file(str(boot), "/EFI.IMG;1", udf_path="/efi.img")
    iso.add_eltorito(
        "/EFI.IMG;1",
        bootcatfile="/BOOT.CAT;1",
        boot_load_size=boot.stat().st_size // _SECTOR,
        platform_id=_EFI_PLATFORM,
        efi=True,
    )
    iso.write(str(target))
    iso.close()
    return target


def _tree(program: Path, tree: Path) -> Path:
    place = tree / "EFI" / "BOOT"
    place.mkdir(parents=True)
    (place / "BOOTX64.EFI").write_bytes(program.read_bytes())
    return tree


def _sectors(raw: Path) -> bytes:
    """The sectors of a disk that are not empty, each after its number."""
    records = []
    with raw.open("rb") as stream:
        number = 0
        while sector := stream.read(_SECTOR):
            if sector.strip(b"\0"):
                records.append(struct.pack("<Q", number) + sector)
            number += 1
    return b"".join(records)
