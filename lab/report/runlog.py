"""``lab.log`` of a run: actions, waits and ignored errors of the lab, in one file that all processes of the run append to.

Every module logs to the standard logger of its own name, ``lab.…``. A line has the time (UTC), the process (``lab`` for
`lab run`, ``master``, ``gw0``, …), the level and the logger. Each line is written with one call, so that lines of several
processes do not mix, and those of a killed process are kept.
"""

from __future__ import annotations

import base64
import logging
import os
import re
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from lab.report.elsewhere import find, other_folders

LOG_FILE: Final = "lab.log"
_ROOT = "lab"
#: Libraries whose warnings explain failures of the lab.
_LIBRARIES = ("paramiko", "urllib3", "qemu", "filelock")
_MASK = "***"
#: A shorter word would mask half of the log, and no secret of the lab is that short.
_LEAST_SECRET = 6
#: Secrets that are not registered: keys, the user's part of a URL (of a proxy), authorization headers.
_PATTERNS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
    re.compile(r"(?i)(?<=authorization: )[^\r\n]+"),
)
#: A session without a test of the lab has no folder, so the number of lines in memory is limited.
_MOST_WAITING = 2000


class RunLog(logging.Handler):
    """Handles the lab's log records in this process, until :meth:`close`.

    No file is made before the run's folder exists: until then lines wait in memory. On a full disk the lines go where the
    results of the run go, see :mod:`lab.report.elsewhere`. Warnings are still shown on standard error if no other handler takes
    them; :func:`for_others` decides which lines other handlers do not get.

    Args:
        out: Folder of the run.
        worker: The process in the run.
        level: ``debug``, ``info``, ``warning`` or ``error``.
    """

    def __init__(self, out: Path, worker: str, *, level: str = "info") -> None:
        super().__init__(logging.getLevelName(level.upper()))
        self._out = out
        self._worker = worker
        self._folders = [out, *other_folders(out)]
        self._secrets: set[str] = set()
        self._waiting: list[bytes] = []
        self._fd = -1
        self._closed = False
        logger = logging.getLogger(_ROOT)
        self._before = logger.level
        logger.setLevel(self.level)
        for name in (_ROOT, *_LIBRARIES):
            logging.getLogger(name).addHandler(self)

    @property
    def path(self) -> Path:
        """The file, in the newest folder that has one."""
        return find(self._out, LOG_FILE)

    def mask(self, *secrets: str) -> None:
        """Never write one of these texts, nor its form in an HTTP header."""
        for secret in secrets:
            if len(secret) >= _LEAST_SECRET:
                self._secrets.add(secret)
                self._secrets.add(base64.b64encode(secret.encode()).decode("ascii"))

    def format(self, record: logging.LogRecord) -> str:
        """The record's lines, each with its time, process, level and logger, without secrets."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        head = f"{stamp}.{int(record.msecs):03d}Z {self._worker} {record.levelname} {record.name}: "
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        return "".join(f"{head}{line}\n" for line in self._masked(text).splitlines() or [""])

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; an error in its arguments is a line, too."""
        try:
            text = self.format(record)
        except Exception as error:  # a wrong format string must not change the run's results
            text = f"{self._worker} ERROR {record.name}: cannot be written: {record.msg!r}: {error!r}\n"
        self._write(text.encode("utf-8", "backslashreplace"))
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and not logging.getLogger().handlers:
            last.handle(record)  # as without this handler

    def close(self) -> None:
        """Detach from the loggers and close the file; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        for name in (_ROOT, *_LIBRARIES):
            logging.getLogger(name).removeHandler(self)
        logging.getLogger(_ROOT).setLevel(self._before)
        self.acquire()
        try:
            if self._waiting:
                self._write(b"")
            self._close_file()
        finally:
            self.release()
        super().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _masked(self, text: str) -> str:
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, _MASK)
        for pattern in _PATTERNS:
            text = pattern.sub(_MASK, text)
        return text

    def _write(self, data: bytes) -> None:
        if self._fd < 0 and not self._out.is_dir():
            if len(self._waiting) < _MOST_WAITING:
                self._waiting.append(data)
            return
        data = b"".join(self._waiting) + data
        self._waiting.clear()
        while self._folders:
            try:
                if self._fd < 0:
                    self._folders[0].mkdir(parents=True, exist_ok=True)
                    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                    self._fd = os.open(self._folders[0] / LOG_FILE, flags, 0o644)
                while data:
                    data = data[os.write(self._fd, data) :]
                return
            except OSError:
                # The results meet the same error, and report it. A log that cannot be written must not end a run.
                self._folders.pop(0)
                self._close_file()

    def _close_file(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def for_others(record: logging.LogRecord) -> bool:
    """A filter for handlers of the root logger: without the log, they would not have got records of the lab below its level.

    Not by ``propagate``: pytest 9.1 and later attaches its handlers to loggers that do not propagate, too.
    """
    own = record.name == _ROOT or record.name.startswith(_ROOT + ".")
    return not own or record.levelno >= logging.getLogger().getEffectiveLevel()
