"""Standard output and error that never end a command: a reader that goes away or a full disk decides no exit code.

By themselves, Python ends with 120 for a last flush that fails, rich and typer with 1 for a closed pipe. With 1, this command
says that a driver is wrong.
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
    """A file descriptor that takes everything: what cannot be written is lost, from the first such error on.

    Args:
        descriptor: Stays open.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        #: Why nothing more arrives; None while all does.
        self.error: OSError | None = None

    def write(self, data: object) -> int:
        """Write some of the bytes, and say how many."""
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
            with contextlib.suppress(io.UnsupportedOperation):  # what a test put there has no descriptor
                raw = _Patient(stream.fileno())
                self._streams[name] = raw
                setattr(sys, name, _text(stream, raw))

    def finish(self, code: int) -> int:
        """Write what is left, say on standard error what was lost, and give the exit code.

        A result that nobody wanted to read to its end is no failure; one that could not be written is.
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
    """Whether the reader of standard output has gone away: who only writes need not go on."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, _Patient) and raw.error is not None


def _text(stream: TextIO, raw: _Patient) -> io.TextIOWrapper:
    stream.flush()
    buffer = io.BufferedWriter(raw)
    # What an encoding cannot say is shown as an escape: half a character, or any character in the locale POSIX.
    return io.TextIOWrapper(
        buffer,
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=bool(getattr(stream, "line_buffering", False)),
    )


def _open_all() -> None:
    """Give 0, 1 and 2 to the null device where they are closed: a disk that is opened later must not become our output."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is given, so this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
