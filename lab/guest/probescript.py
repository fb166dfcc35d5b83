"""Scripts for ``drvprobe.exe``: operations on devices, written one by one or as text."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from lab.errors import ConfigError

Access = Literal["r", "w", "rw", "none"]

_WORD = re.compile(r"[^\s;#=@][^\s;=]*")


@dataclass(frozen=True, slots=True)
class ProbeScript:
    r"""A script under construction; every method returns a longer one.

    >>> script = ProbeScript().open("h", "\\\\.\\LySharkSync").read("h", 20, times=5).close("h")
    >>> print(script)
    open h \\.\LySharkSync; read h 20 times=5; close h

    Operations with ``thread=`` are only listed, until :meth:`go` starts all listed threads at once and waits for their ends.

    Attributes:
        operations: The operations as text.
    """

    operations: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "; ".join(self.operations)

    def open(
        self, handle: str, path: str, *, access: Access = "r", share: Access = "r", overlapped: bool = False, thread: str = ""
    ) -> ProbeScript:
        """Open a device under a name; ``overlapped`` for asynchronous reads."""
        options = {
            "access": access if access != "r" else None,
            "share": share if share != "r" else None,
            "overlapped": 1 if overlapped else None,
        }
        return self._add(thread, "open", handle, path, **options)

    def read(
        self,
        handle: str,
        length: int,
        *,
        times: int = 1,
        fill: int | None = None,
        buffer: int | None = None,
        tag: str | None = None,
        thread: str = "",
    ) -> ProbeScript:
        """Read and wait for the end.

        Args:
            handle: Name of the handle.
            length: Bytes to ask for.
            times: How often.
            fill: Byte that the buffer holds before; drvprobe's own choice when None.
            buffer: Size of the buffer, ``length`` when None; what lies behind the returned bytes is checked.
            tag: Name of the results.
            thread: Thread to list it for.
        """
        options = {"times": times if times != 1 else None, "fill": _byte(fill), "buffer": buffer, "tag": tag}
        return self._add(thread, "read", handle, length, **options)

    def aread(
        self, handle: str, length: int, *, tag: str | None = None, times: int = 1, fill: int | None = None, thread: str = ""
    ) -> ProbeScript:
        """Issue an asynchronous read; its end is told by :meth:`wait`. The handle must be overlapped."""
        options = {"tag": tag, "times": times if times != 1 else None, "fill": _byte(fill)}
        return self._add(thread, "aread", handle, length, **options)

    def wait(self, tag: str = "all", *, timeout_ms: int | None = None, thread: str = "") -> ProbeScript:
        """Wait for the reads of a tag, or for all."""
        return self._add(thread, "wait", tag, timeout=timeout_ms)

    def cancel(self, what: str = "all", *, thread: str = "") -> ProbeScript:
        """Cancel the reads of a tag or of a handle, or all."""
        return self._add(thread, "cancel", what)

    def write(self, handle: str, length: int, *, tag: str | None = None, thread: str = "") -> ProbeScript:
        """Write some bytes and wait for the end."""
        return self._add(thread, "write", handle, length, tag=tag)

    def ioctl(
        self, handle: str, code: int, *, input_size: int = 0, output_size: int = 0, tag: str | None = None, thread: str = ""
    ) -> ProbeScript:
        """Send a device control and wait for the end."""
        options = {"in": input_size or None, "out": output_size or None, "tag": tag}
        return self._add(thread, "ioctl", handle, f"{code:#x}", **options)

    def sleep(self, milliseconds: int, *, thread: str = "") -> ProbeScript:
        """Do nothing for a while."""
        return self._add(thread, "sleep", milliseconds)

    def close(self, handle: str, *, thread: str = "") -> ProbeScript:
        """Close a handle."""
        return self._add(thread, "close", handle)

    def tick(self, *, thread: str = "") -> ProbeScript:
        """Report the time, nothing else."""
        return self._add(thread, "tick")

    def exit(self, code: int = 0) -> ProbeScript:
        """End the process here, with everything open and pending left to the guest."""
        return self._add("", "exit", code)

    def go(self) -> ProbeScript:
        """Start all listed threads behind a barrier and wait for them."""
        return self._add("", "go")

    def text(self, operations: str) -> ProbeScript:
        """Append operations written by hand."""
        return replace(self, operations=(*self.operations, *split_operations(operations)))

    def _add(self, thread: str, verb: str, *words: str | int, **options: str | int | None) -> ProbeScript:
        parts = [f"@{_checked(thread)}"] if thread else []
        parts += [verb, *(_checked(str(word)) for word in words)]
        parts += [f"{name}={_checked(str(value))}" for name, value in options.items() if value is not None]
        return replace(self, operations=(*self.operations, " ".join(parts)))


def split_operations(text: str) -> tuple[str, ...]:
    """The operations of a script, comments (``#`` at the start of a word, up to the end of the operation) left out."""
    operations = []
    for line in text.splitlines():
        for part in line.split(";"):
            if part.lstrip().startswith("#"):
                break  # such a comment goes on to the end of its line
            words = part.split()
            end = next((i for i, word in enumerate(words) if word.startswith("#")), len(words))
            if words[:end]:
                operations.append(" ".join(words[:end]))
    return tuple(operations)


def _byte(value: int | None) -> str | None:
    if value is None:
        return None
    if not 0 <= value <= 0xFF:
        raise ConfigError(f"not a byte to fill a buffer with: {value}")
    return f"{value:02x}"


def _checked(word: str) -> str:
    if not _WORD.fullmatch(word):
        raise ConfigError(
            f"not a word of a drvprobe script: {word!r}", hint="names and paths have no blanks, semicolons or equals signs"
        )
    return word
