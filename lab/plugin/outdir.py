"""The folder of a run: named by the user, or a new one by date and time, with the link ``latest`` beside it."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest

from lab.plugin.options import LabConfig
from lab.report.workers import WORKERS_DIR


def choose_out(options: LabConfig) -> Path:
    """The folder of this run; it is made by whoever writes into it first.

    Raises:
        pytest.UsageError: The user named the folder of another run.
    """
    if options.out is not None:
        if (options.out / WORKERS_DIR).exists():
            raise pytest.UsageError(f"--lab-out {options.out} holds the records of another run; name a new folder")
        return options.out
    stamp = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())
    # The process id keeps two runs of one second apart.
    return options.out_root / f"{stamp}-{os.getpid()}"


def link_latest(out: Path, root: Path) -> None:
    """Point ``latest`` in ``root`` at a run's folder, where that lies in ``root``."""
    if out.parent != root:
        return
    fresh = root / f".latest-{os.getpid()}"
    with contextlib.suppress(OSError):
        # A file system without links has no link; the terminal names the folder all the same.
        fresh.symlink_to(out.name)
        fresh.replace(root / "latest")
