"""Builds scripts for ``drvprobe.exe``: operations on devices, added one by one or as text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from lab.errors import ConfigError
from lab.guest.probelang import MAX_BUFFER, parse_script, quote_word

Access = Literal["r", "w", "rw", "none"]
#: Bytes to send. A text is sent as UTF-8; a number means so many fill bytes.
Data = bytes | str | int


@dataclass(frozen=True, slots=True)
class ProbeScript:
    r"""A script that is being built; every method returns a longer one.

    >>> script = ProbeScript().open("h").ioctl("h", 0x222000, b"\x01", out=8).close("h")
    >>> print(script)
    open h {link}; ioctl h 0x222000 hex=01 out=8; close h

    :meth:`aread`, :meth:`awrite`, :meth:`aioctl` and :meth:`aflush` only issue, on a handle opened with ``overlapped=True``;
    :meth:`wait` reports their results. Operations after :meth:`on` are only listed, for a thread or a process of their own,
    until :meth:`go` starts all of them at once and waits for them.

    Attributes:
        operations: The operations as text.
        listed_for: The thread or process that the next operation is listed for; empty for none.
    """

    operations: tuple[str, ...] = ()
    listed_for: str = ""

    def __str__(self) -> str:
        return "; ".join(self.operations)

    def open(
        self, handle: str, path: str = "{link}", *, access: Access = "r", share: Access = "r", overlapped: bool = False
    ) -> ProbeScript:
        """Open a device under a name.

        Args:
            handle: The name.
            path: What to open; default: the driver's first link.
            access: Reading, writing, both or neither.
            share: What others may open it for at the same time.
            overlapped: Needed for operations that are issued without waiting.
        """
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
            fill: Byte that fills the buffer before; None: 0xCC.
            buffer: Size of the buffer, ``length`` if None; the part after the returned bytes is checked.
            tag: Name of the results.
        """
        options = {"times": _times(times), "fill": _byte(fill), "buffer": buffer, "tag": tag}
        return self._add("read", handle, length, **options)

    def aread(
        self, handle: str, length: int, *, tag: str | None = None, times: int = 1, fill: int | None = None
    ) -> ProbeScript:
        """Issue a read without waiting; :meth:`wait` collects it."""
        return self._add("aread", handle, length, tag=tag, times=_times(times), fill=_byte(fill))

    def write(self, handle: str, data: Data, *, tag: str | None = None, times: int = 1, fill: int | None = None) -> ProbeScript:
        """Write bytes, a text, or this number of bytes of the fill, and wait for the end."""
        return self._write("write", handle, data, tag=tag, times=_times(times), fill=_byte(fill))

    def awrite(
        self, handle: str, data: Data, *, tag: str | None = None, times: int = 1, fill: int | None = None
    ) -> ProbeScript:
        """Issue a write without waiting; :meth:`wait` collects it."""
        return self._write("awrite", handle, data, tag=tag, times=_times(times), fill=_byte(fill))

    def ioctl(
        self,
        handle: str,
        code: int,
        data: Data = b"",
        *,
        out: int | bytes = 0,
        tag: str | None = None,
        times: int = 1,
        fill: int | None = None,
    ) -> ProbeScript:
        """Send a device control and wait for the end.

        Args:
            handle: Name of the handle.
            code: The code, see :func:`lab.guest.ioctl.ctl_code`.
            data: The input buffer: bytes, a text, or a number of bytes of the fill.
            out: Size of the output buffer; or its initial content, which a driver reads with ``in_direct``.
            tag: Name of the results.
            times: How often.
            fill: Byte that fills the buffers before; None: 0xCC.
        """
        return self._ioctl("ioctl", handle, code, data, out, tag=tag, times=_times(times), fill=_byte(fill))

    def aioctl(
        self,
        handle: str,
        code: int,
        data: Data = b"",
        *,
        out: int | bytes = 0,
        tag: str | None = None,
        times: int = 1,
        fill: int | None = None,
    ) -> ProbeScript:
        """Issue a device control without waiting; :meth:`wait` collects it. For the arguments see :meth:`ioctl`."""
        return self._ioctl("aioctl", handle, code, data, out, tag=tag, times=_times(times), fill=_byte(fill))

    def flush(self, handle: str, *, tag: str | None = None) -> ProbeScript:
        """Flush the device's buffers and wait for the end; the handle must be open for writing."""
        return self._add("flush", handle, tag=tag)

    def aflush(self, handle: str, *, tag: str | None = None) -> ProbeScript:
        """Flush in a thread of its own, because Windows has no overlapped flush; :meth:`wait` collects it."""
        return self._add("aflush", handle, tag=tag)

    def wait(self, tag: str = "all", *, timeout_ms: int | None = None) -> ProbeScript:
        """Wait for the requests with a tag, or for all; at most a minute without ``timeout_ms``."""
        return self._add("wait", tag, timeout=timeout_ms)

    def cancel(self, what: str = "all") -> ProbeScript:
        """Cancel the requests with a tag, those of a handle, or all."""
        return self._add("cancel", what)

    def sleep(self, milliseconds: int) -> ProbeScript:
        """Wait for a number of milliseconds."""
        return self._add("sleep", milliseconds)

    def close(self, handle: str) -> ProbeScript:
        """Close a handle."""
        return self._add("close", handle)

    def tick(self) -> ProbeScript:
        """Report only the time."""
        return self._add("tick")

    def service(self, action: Literal["start", "stop", "query"], name: str) -> ProbeScript:
        """Ask the service manager; ``returned`` is the state afterwards: 1 stopped, 3 stop pending, 4 running."""
        return self._add("service", action, name)

    def exit(self, code: int = 0) -> ProbeScript:
        """End the process here, with open handles and pending requests."""
        return self._add("exit", code)

    def go(self) -> ProbeScript:
        """Start all listed threads and processes together and wait for them; later operations run directly again."""
        return replace(self, listed_for="")._add("go")

    def on(self, thread: str = "", *, process: str = "") -> ProbeScript:
        """List the following operations for a thread, or for a process with handles and tags of its own.

        Raises:
            ConfigError: Neither or both are named.
        """
        if bool(thread) == bool(process):
            raise ConfigError("name a thread or a process to list operations for")
        return replace(self, listed_for=f"@{_name(thread)} " if thread else f"${_name(process)} ")

    def text(self, operations: str) -> ProbeScript:
        """Append operations written by hand."""
        return replace(self, operations=(*self.operations, *split_operations(operations)))

    def _write(self, verb: str, handle: str, data: Data, **options: str | int | None) -> ProbeScript:
        if isinstance(data, int):
            return self._add(verb, handle, data, **options)
        return self._add(verb, handle, hex=_hex(data), **options)

    def _ioctl(
        self, verb: str, handle: str, code: int, data: Data, out: int | bytes, **options: str | int | None
    ) -> ProbeScript:
        sent = {"in": data or None} if isinstance(data, int) else {"hex": _hex(data) or None}
        back = {"out": out or None} if isinstance(out, int) else {"outhex": _hex(out) or None}
        return self._add(verb, handle, f"{code:#x}", **sent, **back, **options)

    def _add(self, verb: str, *words: str | int, **options: str | int | None) -> ProbeScript:
        parts = [verb, *(quote_word(str(word)) for word in words)]
        parts += [f"{name}={value and quote_word(str(value))}" for name, value in options.items() if value is not None]
        return replace(self, operations=(*self.operations, self.listed_for + " ".join(parts)))


def split_operations(text: str) -> tuple[str, ...]:
    """The operations of a script as the program in the guest reads them, without comments.

    Raises:
        ConfigError: One is wrong, with its place.
    """
    return tuple(map(str, parse_script(text)))


def _times(value: int) -> int | None:
    return value if value != 1 else None


def _byte(value: int | None) -> str | None:
    if value is None:
        return None
    if not 0 <= value <= 0xFF:
        raise ConfigError(f"not a byte to fill a buffer with: {value}")
    return f"{value:02x}"


def _hex(data: bytes | str) -> str:
    raw = data.encode() if isinstance(data, str) else bytes(data)
    if len(raw) > MAX_BUFFER:
        raise ConfigError(
            f"{len(raw)} bytes are more than a buffer of drvprobe holds ({MAX_BUFFER})", hint="several smaller ones"
        )
    return raw.hex()


def _name(word: str) -> str:
    """A thread's or process's name, which cannot be quoted."""
    if quote_word(word) != word:
        raise ConfigError(f"not a name of a thread or process: {word!r}", hint="letters and digits")
    return word
