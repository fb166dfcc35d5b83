"""Standard output and error that never end a command: a closed pipe or a full disk does not decide the exit code.

By default, Python ends with 120 when its last flush fails, and rich and typer end with 1 for a closed pipe. For this command, 1
means that a driver is wrong.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from typing import TextIO

from lab.gate.exitcode import INFRA, OK


class _Patient(io.FileIO):
    """A file descriptor whose writes never fail: after the first error, everything is dropped.

    Args:
        descriptor: Stays open.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        #: The error after which output is dropped; None while there is none.
        self.error: OSError | None = None

    def write(self, data: object) -> int:
        """Write some of the bytes; returns how many."""
        view = memoryview(data)  # type: ignore[arg-type]
        if self.error is None:
            try:
                while True:
                    done = super().write(view)
                    if done is not None:
                        return done
                    # A terminal that another program has made non-blocking.
                    select.select([], [self.fileno()], [], 1.0)
            except OSError as error:
                self.error = error
        return view.nbytes


class Output:
    """Standard output and error of this process, made patient; :meth:`finish` is called at its end."""

    def __init__(self) -> None:
        _open_all()
        self._streams: dict[str, _Patient] = {}
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            with contextlib.suppress(io.UnsupportedOperation):  # a stream that a test has put there has no descriptor
                raw = _Patient(stream.fileno())
                self._streams[name] = raw
                setattr(sys, name, _text(stream, raw))

    def finish(self, code: int) -> int:
        """Write the rest, report lost output on standard error, and return the exit code.

        A reader that closes the pipe early is not a failure; a write that fails is one.
        """
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        raw = self._streams.get("stdout")
        if raw is None or raw.error is None or raw.error.errno == errno.EPIPE:
            return code
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"lab: standard output is not complete: {raw.error.strerror}\n")
            sys.stderr.flush()
        return INFRA if code == OK else code


def reader_gone() -> bool:
    """Whether the reader of standard output has closed it: a command that only writes can stop."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, _Patient) and raw.error is not None


def _text(stream: TextIO, raw: _Patient) -> io.TextIOWrapper:
    stream.flush()
    buffer = io.BufferedWriter(raw)
    # Characters that the encoding does not have are shown as escapes: half a character, or any character in the locale POSIX.
    return io.TextIOWrapper(
        buffer,
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=bool(getattr(stream, "line_buffering", False)),
    )


def _open_all() -> None:
    """Open the null device as 0, 1 and 2 where they are closed: a disk that is opened later must not get that number."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            # The kernel assigns the lowest free number, so this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
