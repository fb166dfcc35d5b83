"""Which files of a guest's run folder are evidence."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Final

from lab.host.passed import passed_over
from lab.image.manifest import ImageManifest
from lab.prints.registry import channel_of

_LOG = logging.getLogger(__name__)

#: Globs: logs of QEMU, of all serial ports and of the debug console; the command, to start the same guest by hand; the status
#: of the process that supervises QEMU. The files of print channels come from the channels.
_VM_LOGS: Final = ("*.log", "*.cmd", "supervisor.json")


def find_logs(folder: Path | None, manifest: ImageManifest) -> list[Path]:
    """Return the files of a run folder that are evidence, sorted.

    Args:
        folder: The run folder; None: the guest has none.
        manifest: The image's, as the guest was booted; its print channel has files of its own.
    """
    if folder is None:
        return []
    patterns = (*_VM_LOGS, *channel_of(manifest).evidence)
    return sorted({file for pattern in patterns for file in folder.glob(pattern)})


def copy_logs(folder: Path, manifest: ImageManifest, target: Path) -> None:
    """Keep the logs of a run folder. A failure to copy is only logged: the disk may be full."""
    with passed_over(_LOG, f"logs of {target.name} are not complete", OSError, level=logging.WARNING):
        target.mkdir(parents=True, exist_ok=True)
        for file in find_logs(folder, manifest):
            shutil.copy2(file, target / file.name)
