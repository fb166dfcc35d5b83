"""Describes the host on which the times are measured."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil

from lab.bench.model import MachineEntry
from lab.host.capacity import measure


def describe_machine(root: Path = Path("/")) -> MachineEntry:
    """This host, without its name and other things that identify it or its owner.

    Args:
        root: Where ``proc`` is.
    """
    return MachineEntry(
        processor=_processor(root / "proc/cpuinfo") or platform.processor() or platform.machine(),
        cores=measure().cores,
        memory_mib=psutil.virtual_memory().total >> 20,
        kernel=platform.release(),
        python=platform.python_version(),
        load=round(os.getloadavg()[0], 2),
    )


def _processor(cpuinfo: Path) -> str:
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
