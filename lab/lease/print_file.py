"""Which file of a guest's run folder its prints are in."""

from __future__ import annotations

from pathlib import Path

from lab.errors import ConfigError
from lab.image.folder import read_manifest
from lab.image.manifest import ImageManifest
from lab.lease.detached import DetachedGuest
from lab.prints.kd.process import RECORDS_FILE
from lab.prints.live import PrintFile
from lab.prints.tap.source import LOG_FILE
from lab.vm.argv import serial_name


def print_file(manifest: ImageManifest, folder: Path, *, guest: str, encoding: str = "") -> PrintFile | None:
    """The file of a guest; None where its prints stay in it.

    Args:
        manifest: Of its image, as it is booted.
        folder: Its run folder.
        guest: Its name.
        encoding: Of its drivers' texts; empty for the image's own.
    """
    prints = manifest.prints
    said = encoding or prints.encoding
    if prints.source == "wine":
        path = folder / f"{serial_name(prints.serial)}.log"
        return PrintFile(guest=guest, kind="wine", path=path, encoding=said)
    if prints.source == "tap":
        return PrintFile(guest=guest, kind="tap", path=folder / LOG_FILE, encoding=said)
    return PrintFile(guest=guest, kind="kd", path=folder / RECORDS_FILE, encoding=said) if prints.source == "kd" else None


def detached_print_file(guest: DetachedGuest) -> PrintFile:
    """The file of a guest that is up.

    Raises:
        ConfigError: Its prints stay in it.
    """
    if (guest.run_dir / RECORDS_FILE).exists():  # booted with its debugger on, whatever its image does by itself
        encoding = guest.encoding or read_manifest(guest.image_dir).prints.encoding
        return PrintFile(guest=guest.name, kind="kd", path=guest.run_dir / RECORDS_FILE, encoding=encoding)
    found = print_file(read_manifest(guest.image_dir), guest.run_dir, guest=guest.name, encoding=guest.encoding)
    if found is None:
        raise ConfigError(
            f"the prints of guest {guest.name} stay in it: it was booted without its debugger, and has no tap",
            hint="`debug: kd` in the lab file (LAB_DEBUG=kd) boots a Windows guest with its debugger on",
        )
    return found
