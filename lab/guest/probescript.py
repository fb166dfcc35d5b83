"""Scripts for ``drvprobe.exe``: operations on devices, written one by one or as text."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from lab.errors import ConfigError

Access = Literal["r", "w", "rw", "none"]

_WORD = re.compile(r"[^\s;#=@$][^\s;=]*")


@dataclass(frozen=True, slots=True)
class ProbeScript:
    r"""A script under construction; every method returns a longer one.

    >>> script = ProbeScript().open("h", "\\\\.\\LySharkSync").read("h", 20, times=5).close("h")
    >>> print(script)
    open h \\.\LySharkSync; read h 20 times=5; close h

    Operations behind :meth:`on` are only listed, for a thread or a process of their own, until :meth:`go` starts all of
    those at once and waits for their ends.

    Attributes:
        operations: The operations as text.
        listed_for: Whom the next operation is listed for; empty for none.
    """

    operations: tuple[str, ...] = ()
    listed_for: str = ""

    def __str__(self) -> str:
        return "; ".join(self.operations)

    def open(
        self, handle: str, path: str, *, access: Access = "r", share: Access = "r", overlapped: bool = False
    ) -> ProbeScript:
        """Open a device under a name; ``overlapped`` for asynchronous reads."""
        options = {
            "access": access if access != "r" else None,
            "share": share if share != "r" else None,
            "overlapped": 1 if overlapped else None,
        }
        return self._add("open", handle, path, **options)

    def read(
        self,
        handle: str,
        length: int,
        *,
        times: int = 1,
        fill: int | None = None,
        buffer: int | None = None,
        tag: str | None = None,
    ) -> ProbeScript:
        """Read and wait for the end.

        Args:
            handle: Name of the handle.
            length: Bytes to ask for.
            times: How often.
            fill: Byte that the buffer holds before; drvprobe's own choice when None.
            buffer: Size of the buffer, ``length`` when None; what lies behind the returned bytes is checked.
            tag: Name of the results.
        """
        options = {"times": times if times != 1 else None, "fill": _byte(fill), "buffer": buffer, "tag": tag}
        return self._add("read", handle, length, **options)

    def aread(
        self, handle: str, length: int, *, tag: str | None = None, times: int = 1, fill: int | None = None
    ) -> ProbeScript:
        """Issue an asynchronous read; its end is told by :meth:`wait`. The handle must be overlapped."""
        options = {"tag": tag, "times": times if times != 1 else None, "fill": _byte(fill)}
        return self._add("aread", handle, length, **options)

    def wait(self, tag: str = "all", *, timeout_ms: int | None = None) -> ProbeScript:
        """Wait for the reads of a tag, or for all."""
        return self._add("wait", tag, timeout=timeout_ms)

    def cancel(self, what: str = "all") -> ProbeScript:
        """Cancel the reads of a tag or of a handle, or all."""
        return self._add("cancel", what)

    def write(self, handle: str, length: int, *, tag: str | None = None) -> ProbeScript:
        """Write some bytes and wait for the end."""
        return self._add("write", handle, length, tag=tag)

    def ioctl(
        self, handle: str, code: int, *, input_size: int = 0, output_size: int = 0, tag: str | None = None
    ) -> ProbeScript:
        """Send a device control and wait for the end."""
        options = {"in": input_size or None, "out": output_size or None, "tag": tag}
        return self._add("ioctl", handle, f"{code:#x}", **options)

    def sleep(self, milliseconds: int) -> ProbeScript:
        """Do nothing for a while."""
        return self._add("sleep", milliseconds)

    def close(self, handle: str) -> ProbeScript:
        """Close a handle."""
        return self._add("close", handle)

    def tick(self) -> ProbeScript:
        """Report the time, nothing else."""
        return self._add("tick")

    def service(self, action: Literal["start", "stop", "query"], name: str) -> ProbeScript:
        """Ask the service manager; the operation's ``returned`` is the state behind it."""
        return self._add("service", action, name)

    def exit(self, code: int = 0) -> ProbeScript:
        """End the process here, with everything open and pending left to the guest."""
        return self._add("exit", code)

    def go(self) -> ProbeScript:
        """Start all listed threads and processes behind a barrier and wait for them; what follows runs at once again."""
        return replace(self, listed_for="")._add("go")

    def on(self, thread: str = "", *, process: str = "") -> ProbeScript:
        """List the following operations for a thread, or for a process with handles and tags of its own.

        Raises:
            ConfigError: Neither or both are named.
        """
        if bool(thread) == bool(process):
            raise ConfigError("name a thread or a process to list operations for")
        return replace(self, listed_for=f"@{_checked(thread)} " if thread else f"${_checked(process)} ")

    def text(self, operations: str) -> ProbeScript:
        """Append operations written by hand."""
        return replace(self, operations=(*self.operations, *split_operations(operations)))

    def _add(self, verb: str, *words: str | int, **options: str | int | None) -> ProbeScript:
        parts = [verb, *(_checked(str(word)) for word in words)]
        parts += [f"{name}={_checked(str(value))}" for name, value in options.items() if value is not None]
        return replace(self, operations=(*self.operations, self.listed_for + " ".join(parts)))


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
