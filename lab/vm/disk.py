"""Overlays: each machine writes to its own qcow2 file, and its base stays as it is."""

from __future__ import annotations

from pathlib import Path

from lab.errors import ConfigError
from lab.host.process import run

_SECONDS = 60.0


def create_overlay(base: Path, target: Path, *, base_format: str = "qcow2", qemu_img: str = "qemu-img") -> None:
    """Make an empty overlay; it takes some 200 KB until it is written to.

    Args:
        base: The disk below; it must not change as long as the overlay is used.
        target: The new file; an existing one is replaced.
        base_format: ``qcow2`` or ``raw``.
        qemu_img: The program.

    Raises:
        ConfigError: There is no such base.
        HostToolError: qemu-img failed.
    """
    if not base.is_file():
        raise ConfigError("no such disk", file=str(base), hint="`lab image build` makes images")
    target.unlink(missing_ok=True)
    # The base by its full path: a relative one would be sought from the overlay's folder.
    run([qemu_img, "create", "-q", "-f", "qcow2", "-b", base.resolve(), "-F", base_format, target], _SECONDS)
