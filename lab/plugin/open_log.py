"""The run's log in pytest's processes: opened when the folder of the run is known, closed at the end of the session."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from lab.errors import ImageError
from lab.host.passed import passed_over
from lab.plugin.keys import options_of
from lab.report.runlog import RunLog, for_others

_LOG = logging.getLogger(__name__)
#: Handlers of pytest's own plugin for logs.
_CAPTURES = ("caplog_handler", "report_handler", "log_cli_handler", "log_file_handler")
_RUN_LOG = pytest.StashKey[RunLog]()


def open_run_log(config: pytest.Config, out: Path, worker: str) -> None:
    """Open ``lab.log``; a second call does nothing.

    Args:
        config: pytest's configuration.
        out: Folder of the run.
        worker: The process in the run.
    """
    if _RUN_LOG not in config.stash:
        config.stash[_RUN_LOG] = RunLog(out, worker, level=options_of(config).log_level)
        # pytest's output for a failed test stays the same.
        capture = config.pluginmanager.get_plugin("logging-plugin")
        for name in _CAPTURES:
            handler = getattr(capture, name, None)
            if isinstance(handler, logging.Handler):
                handler.addFilter(for_others)


def mask_credentials(config: pytest.Config, source: object) -> None:
    """Keep the credentials of a source's guests out of the log, if it has any."""
    image_dir = getattr(source, "image_dir", None)
    if _RUN_LOG in config.stash and isinstance(image_dir, Path):
        from lab.image.folder import read_credentials

        with passed_over(_LOG, "the image's credentials", ImageError):
            config.stash[_RUN_LOG].mask(*read_credentials(image_dir).secrets)


def close_run_log(config: pytest.Config) -> None:
    """The end of the session; safe to call twice."""
    if _RUN_LOG in config.stash:
        config.stash[_RUN_LOG].close()
        del config.stash[_RUN_LOG]
