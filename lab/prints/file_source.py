"""A print source over the file to which QEMU writes a guest's port. Decoder and markers are passed in, so any format works."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from lab.errors import EvidenceLost, GuestError
from lab.prints.follow import Decoder, FileFollower
from lab.prints.record import Record
from lab.prints.resume import ResumableSource
from lab.prints.timer import GuestTimer


class FilePrintSource:
    """A :class:`lab.prints.record.PrintSource`. QEMU never blocks on the file, and the file itself is the raw evidence.

    Args:
        name: Name of the print channel.
        path: The file; it may not exist yet.
        decoder: Decodes its format.
        write_mark: Makes the guest write a marker with this token, within some seconds; returns when it is written.
        what: The file in messages, for example ``the print file``.
        who: The program or driver in the guest that writes the marker, for messages.
        hint: A likely reason if a marker does not arrive, for messages.
        replay: Bytes to decode before the bytes of the file.
        on_close: Called once, at the end of :meth:`close`; closes the connection of ``write_mark``.
        wall: Wall clock in seconds.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        decoder: Decoder,
        write_mark: Callable[[str, float], None],
        *,
        what: str,
        who: str,
        hint: str,
        replay: bytes = b"",
        on_close: Callable[[], None] = lambda: None,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._write = write_mark
        self._who = who
        self._hint = hint
        self._on_close = on_close
        self._closed = False
        self._file = FileFollower(path, decoder, what=what, replay=replay, wall=wall, clock=clock)

    @property
    def name(self) -> str:
        """Name of the print channel."""
        return self._name

    @property
    def resumable(self) -> ResumableSource | None:
        """None: the source cannot continue in a fork."""
        return None

    @property
    def timer(self) -> GuestTimer | None:
        """None: the guest's own source has it, where there is one."""
        return None

    @property
    def breaker(self) -> None:
        """None: there is no debugger."""

    @property
    def raw_file(self) -> Path:
        """The file that holds every byte of the port."""
        return self._file.path

    def start(self) -> None:
        """Begin to follow the file from its first byte."""
        self._file.start()

    def records_since(self, position: int) -> list[Record]:
        """All records from index ``position`` on."""
        return self._file.records_since(position)

    def wait(self, position: int, until: Callable[[list[Record]], bool], *, timeout: float) -> list[Record]:
        """Wait until ``until`` holds for the records from ``position`` on; see :class:`lab.prints.record.PrintSource`."""
        return self._file.wait(position, until, timeout=timeout)

    def mark(self, token: str, *, timeout: float) -> int:
        """Let the guest write a marker and wait until it arrives; see :class:`lab.prints.record.PrintSource`.

        Args:
            token: Printable ASCII without blanks, at most 128 characters; unique in this guest's life.
            timeout: Seconds for all of it.
        """
        return self._file.mark(token, self._have_written, who=self._who, hint=self._hint, timeout=timeout)

    def close(self) -> None:
        """Read what has already arrived and stop. Idempotent."""
        self._file.close()
        if not self._closed:
            self._closed = True
            self._on_close()

    def _have_written(self, token: str, timeout: float) -> None:
        try:
            self._write(token, timeout)
        except EvidenceLost:
            raise
        except GuestError as error:
            raise EvidenceLost(f"{self._who} was not reached for marker {token}: {error.message}", hint=error.hint) from error
