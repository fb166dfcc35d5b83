"""Copy a child's output to ours, even if ours is closed: a closed pipe would end pytest without the run's results."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, TextIO

from lab.host.console import is_terminal

_CHUNK = 65536
#: Longest time to read the rest of the pipe after the child has ended: a process that it started may still write.
_LAST_S = 5.0


@dataclass(frozen=True, slots=True)
class ChildOutput:
    """The standard output and error of a child; None: it inherits ours."""

    stdout: int | None
    stderr: int | None
    carriers: tuple[threading.Thread, ...] = ()

    def begin(self) -> None:
        """The child has been started: its output is copied from now on.

        Not earlier, because a process that forks must have no other threads.

        It has its own copies of the descriptors: ours are closed, so that the end of the output is seen.
        """
        for descriptor in {self.stdout, self.stderr} - {None}:
            os.close(descriptor)  # type: ignore[arg-type]
        for thread in self.carriers:
            thread.start()


@contextlib.contextmanager
def forwarded_output(ended: threading.Event) -> Iterator[ChildOutput]:
    """Pipes for a child's output, copied to ours by threads if ours is not a terminal; a terminal goes to the child directly.

    Args:
        ended: Set when the child has ended.
    """
    pipes: list[tuple[int, BinaryIO]] = []
    out, err = _target(sys.stdout), _target(sys.stderr)
    stdout = _pipe(pipes, out) if out else None
    # One pipe for both if they are one file: otherwise lines would be out of order.
    stderr = stdout if out and err and _same(sys.stdout, sys.stderr) else _pipe(pipes, err) if err else None
    carriers = tuple(threading.Thread(target=_carry, args=(*pipe, ended), daemon=True) for pipe in pipes)
    try:
        yield ChildOutput(stdout, stderr, carriers)
    finally:
        ended.set()
        for thread in carriers:
            if thread.ident is not None:
                thread.join(2 * _LAST_S)


def _target(stream: TextIO) -> BinaryIO | None:
    if is_terminal(stream):
        return None
    stream.flush()
    return getattr(stream, "buffer", None)


def _pipe(pipes: list[tuple[int, BinaryIO]], target: BinaryIO) -> int:
    source, end = os.pipe()
    pipes.append((source, target))
    return end


def _same(one: TextIO, other: TextIO) -> bool:
    try:
        return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))
    except (OSError, ValueError):
        return False


def _carry(source: int, target: BinaryIO, ended: threading.Event) -> None:
    last: float | None = None
    with os.fdopen(source, "rb", buffering=0):
        while last is None or time.monotonic() < last:
            readable, _, _ = select.select([source], [], [], 0.2)
            if readable:
                data = os.read(source, _CHUNK)
                if not data:
                    return
                with contextlib.suppress(OSError, ValueError):
                    target.write(data)
                    target.flush()
            elif ended.is_set():
                return
            if last is None and ended.is_set():
                last = time.monotonic() + _LAST_S
