"""Which files of a guest's run folder tell what happened to it."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Final

from lab.host.passed import passed_over

_LOG = logging.getLogger(__name__)

#: Globs: logs of QEMU, of its supervisor, of all serial ports and of the debug console; the command, to start the same guest by
#: hand; the records of a debugger's port, and the raw bytes from which they can be made anew.
RUN_LOGS: Final = ("*.log", "*.cmd", "supervisor.json", "*.jsonl", "*.raw", "*.kd")


def copy_logs(folder: Path, target: Path) -> None:
    """Keep the logs of a run folder. Evidence is worth a try, never a failure of its own: the disk may be full."""
    with passed_over(_LOG, f"logs of {target.name} are not complete", OSError, level=logging.WARNING):
        target.mkdir(parents=True, exist_ok=True)
        for pattern in RUN_LOGS:
            for file in folder.glob(pattern):
                shutil.copy2(file, target / file.name)
