"""The part of `lab run` itself in the run's log."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

import lab
from lab.errors import ImageError
from lab.host.passed import passed_over
from lab.image.folder import read_credentials
from lab.report.runlog import RunLog

_LOG = logging.getLogger(__name__)


def open_log(folder: Path, image: Path, *, level: str, said: Iterable[str] = ()) -> RunLog:
    """Open ``lab.log`` of a run.

    Args:
        folder: Folder of the run.
        image: Folder of the guests' image, whose credentials never get into the log.
        level: Least level of a line.
        said: Lines that the command has shown before the log was open.
    """
    log = RunLog(folder, "lab", level=level)
    try:
        with passed_over(_LOG, "the image's credentials", ImageError):
            log.mask(*read_credentials(image).secrets)
    except BaseException:
        log.close()  # no other process has it open yet
        raise
    _LOG.info("lab %s, image %s: %s", lab.__version__, image, shlex.join(sys.argv))
    for line in said:
        _LOG.info("%s", line)
    return log
