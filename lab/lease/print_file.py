"""Which file of a guest's run folder its prints are in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from lab.errors import ConfigError
from lab.image.folder import read_manifest
from lab.image.manifest import ImageManifest
from lab.lease.detached import DetachedGuest
from lab.prints.kd.process import RECORDS_FILE
from lab.prints.live import Kind, PrintFile
from lab.prints.tap.source import LOG_FILE
from lab.vm.argv import serial_name


def print_file(
    manifest: ImageManifest,
    folder: Path,
    *,
    guest: str,
    encoding: str = "",
    template: str = "",
    loaded: Iterable[str] = (),
) -> PrintFile | None:
    """The file of a guest; None where its prints stay in it.

    Args:
        manifest: Of its image, as it is booted.
        folder: Its run folder.
        guest: Its name.
        encoding: Of its drivers' texts; empty for the image's own.
        template: Key of the template that it is a fork of; empty for none.
        loaded: Drivers that were loaded in the template.
    """
    prints = manifest.prints
    files: dict[str, tuple[Kind, str]] = {
        "wine": ("wine", f"{serial_name(prints.serial)}.log"),
        "tap": ("tap", LOG_FILE),
        "kd": ("kd", RECORDS_FILE),
    }
    if prints.source not in files:
        return None
    kind, name = files[prints.source]
    said = encoding or prints.encoding
    names = tuple(sorted(loaded))
    return PrintFile(guest=guest, kind=kind, path=folder / name, encoding=said, template=template, loaded=names)


def detached_print_file(guest: DetachedGuest) -> PrintFile:
    """The file of a guest that is up.

    Raises:
        ConfigError: Its prints stay in it.
    """
    return replace(_detached_print_file(guest), template=guest.template, loaded=guest.loaded)


def _detached_print_file(guest: DetachedGuest) -> PrintFile:
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
