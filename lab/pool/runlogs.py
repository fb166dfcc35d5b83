"""Which files of a guest's run folder tell what happened to it."""

from __future__ import annotations

from typing import Final

#: Globs: logs of QEMU, of its keeper, of all serial ports and of the debug console; the command, to start the same guest by
#: hand; the records of a debugger's port, and the raw bytes from which they can be made anew.
RUN_LOGS: Final = ("*.log", "*.cmd", "keeper.json", "*.jsonl", "*.raw", "*.kd")
