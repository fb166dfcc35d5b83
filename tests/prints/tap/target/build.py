"""Builds the bare-metal program that writes the tap's records with the driver's own encoder and lock."""

from __future__ import annotations

from pathlib import Path

from lab.host.paths import project_root
from tests.prints.kd.target import build as kd_target

SOURCES = Path(__file__).resolve().parent
DRIVER = project_root() / "driver" / "tap"


def build_target(folder: Path) -> Path:
    """Compile it; ``main.c`` describes the command line. The machine's part is that of the kernel-debugger target.

    Args:
        folder: Where the files go; made when it is missing.

    Returns:
        A Multiboot kernel for QEMU's ``-kernel``.
    """
    machine = [kd_target.SOURCES / name for name in ("boot.S", "machine.c", "text.c")]
    ours = [SOURCES / "main.c", SOURCES / "processors.S"]
    driver = [DRIVER / "writer.c", DRIVER / "record.c"]
    return kd_target.build_multiboot(folder, [*machine, *ours, *driver], includes=[kd_target.SOURCES, DRIVER])
