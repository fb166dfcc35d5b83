"""Which file of a guest's run folder its prints are in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lab.errors import ConfigError
from lab.image.folder import read_manifest
from lab.image.manifest import ImageManifest
from lab.lease.detached import DetachedGuest
from lab.live.print_wiring import found_booted
from lab.prints.live import PrintFile
from lab.prints.registry import channel_of


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
    channel = channel_of(manifest)
    path = channel.file(manifest.prints, folder)
    if path is None:
        return None
    return PrintFile(
        guest=guest,
        kind=channel.name,
        path=path,
        encoding=encoding or manifest.prints.encoding,
        template=template,
        loaded=tuple(sorted(loaded)),
    )


def detached_print_file(guest: DetachedGuest) -> PrintFile:
    """The file of a guest that is up.

    Raises:
        ConfigError: Its prints stay in it.
    """
    manifest = found_booted(read_manifest(guest.image_dir), guest.run_dir)
    found = print_file(
        manifest,
        guest.run_dir,
        guest=guest.name,
        encoding=guest.encoding,
        template=guest.template,
        loaded=guest.loaded,
    )
    if found is None:
        raise ConfigError(
            f"the prints of guest {guest.name} do not reach the host: it was booted without a debugger and has no print relay",
            hint="`debug: kd` in the lab file (LAB_DEBUG=kd) boots a Windows guest with its debugger",
        )
    return found
