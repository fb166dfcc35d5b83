"""The folder of a run: named by the user, or a new one by date and time, with the link ``latest`` beside it."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

from lab.errors import ConfigError
from lab.host.passed import passed_over
from lab.plugin.options import OUT_FLAG, LabConfig
from lab.report.elsewhere import put_aside
from lab.report.outdir import COPIES, check_named
from lab.report.runlog import LOG_FILE

_LOG = logging.getLogger(__name__)


def choose_out(options: LabConfig) -> Path:
    """The folder of this run; the first process that writes into it makes it.

    Raises:
        pytest.UsageError: The user named a folder that holds anything: another run, or files of their own.
    """
    if options.out is not None:
        # `lab run` names a folder that it has just made, and that only contains the run's drivers so far.
        try:
            check_named(options.out, option=OUT_FLAG, prepared=options.prepared)
        except ConfigError as error:
            raise pytest.UsageError(str(error)) from None
        put_aside(options.out)
        return options.out
    stamp = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())
    # The process id keeps two runs of one second apart.
    return options.out_root / f"{stamp}-{os.getpid()}"


def fresh_out(config: pytest.Config) -> Path | None:
    """The named folder, if it contains no run yet: `lab run` makes it, and the session may have no lab test."""
    named = config.getoption("lab_out", None)
    if named is None or not Path(named).is_dir():
        return None
    if any(path.name not in ("junit.xml", COPIES, LOG_FILE) for path in Path(named).iterdir()):
        return None
    put_aside(Path(named))
    return Path(named)


def link_latest(out: Path, root: Path) -> None:
    """Point ``latest`` in ``root`` at a run's folder, where that lies in ``root``."""
    if out.parent != root:
        return
    fresh = root / f".latest-{os.getpid()}"
    with passed_over(_LOG, "cannot make the link to the newest run", OSError):
        # A file system without links has no link; the terminal names the folder anyway.
        fresh.symlink_to(out.name)
        fresh.replace(root / "latest")
