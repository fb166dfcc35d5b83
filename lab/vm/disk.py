"""Overlays: each VM writes to its own qcow2 file, and its base is never written to."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab.errors import ConfigError
from lab.host.process import run

_SECONDS = 60.0


def create_overlay(
    base: Path, target: Path, *, base_format: str = "qcow2", qemu_img: str = "qemu-img", by_name: bool = False
) -> None:
    """Make an empty overlay; it takes some 200 KB until it is written to.

    Args:
        base: The disk below; it must not change as long as the overlay is used.
        target: The new file; an existing one is replaced.
        base_format: ``qcow2`` or ``raw``.
        qemu_img: The program.
        by_name: Name the base without its folder: it is then sought beside the overlay, wherever that is copied to.

    Raises:
        ConfigError: There is no such base.
        HostToolError: qemu-img failed.
    """
    if not base.is_file():
        raise ConfigError("no such disk", file=str(base), hint="`lab image build` makes images")
    target.unlink(missing_ok=True)
    # The base by its full path: a relative one would be sought from the overlay's folder.
    backing = base.name if by_name else base.resolve()
    run([qemu_img, "create", "-q", "-f", "qcow2", "-b", backing, "-F", base_format, target], _SECONDS)


def copy_overlay(blank: Path, base: Path, target: Path) -> None:
    """Copy an empty overlay that names its base without a folder, and link that base beside the copy.

    Args:
        blank: Made by :func:`create_overlay` with ``by_name``.
        base: The disk below, by its own name.
        target: The new file; existing ones are replaced.
    """
    target.unlink(missing_ok=True)
    link = target.parent / base.name
    link.unlink(missing_ok=True)
    link.symlink_to(base.absolute())
    shutil.copyfile(blank, target)
