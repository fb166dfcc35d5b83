"""Runs programs at the same time, and waits for all of them: ``python -m lab.cli.both FILE``.

The file has a JSON list of objects: ``argv``, and ``log`` for what the program writes. `lab run --baseline` runs tests on two
drivers in this way. A signal is passed on.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType


def main(arguments: Sequence[str]) -> int:
    """Run the programs of a file; 0 when all have ended, whatever they ended with."""
    setpriv = shutil.which("setpriv")
    prefix = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    processes: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    for job in json.loads(Path(arguments[0]).read_text(encoding="utf-8")):
        with Path(job["log"]).open("wb") as log:
            processes.append(
                subprocess.Popen([*prefix, *job["argv"]], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
            )
    for process in processes:
        process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
