"""The print source of a guest with the print relay: follows the file that QEMU writes its debug console to."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from lab.errors import EvidenceLost, GuestError
from lab.prints.follow import FileFollower
from lab.prints.record import Record
from lab.prints.relay.decoder import RelayDecoder, RelayPosition

#: The log of :attr:`lab.vm.spec.VmSpec.debug_port` in a machine's run folder.
LOG_FILE = "debugcon.log"


def _nothing() -> None:
    """Nobody's connection to let go of."""


class RelayFrames(RelayDecoder):
    """A :class:`lab.prints.follow.Decoder`."""

    def rest(self, silent_s: float) -> list[Record]:
        """See :class:`lab.prints.follow.Decoder`."""
        return []  # a frame says where it ends


class RelayPrintSource:
    """Print source over a file chardev: QEMU never blocks on it, and the file itself is the raw evidence.

    A print is in the file when the guest's DbgPrint returns. So a mark that the print relay writes afterwards stands behind it,
    whichever processor printed.

    Args:
        path: The log; it may not exist yet.
        write_mark: Has the guest's print relay write a mark with this token, within some seconds, and returns when it has.
        encoding: Encoding of the drivers' strings.
        resume: Where the print relay stood at the snapshot; None: the log begins with the guest's boot.
        on_close: Called at the end of :meth:`close`; what ``write_mark`` keeps open is let go there.
        wall: Wall clock in seconds.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        path: Path,
        write_mark: Callable[[str, float], None],
        *,
        encoding: str = "cp1252",
        resume: RelayPosition | None = None,
        on_close: Callable[[], None] = _nothing,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write_mark = write_mark
        self._decoder = RelayFrames(encoding, resume)
        self._on_close = on_close
        self._file = FileFollower(path, self._decoder, what="the log of the debug console", wall=wall, clock=clock)

    @property
    def name(self) -> str:
        """``relay``."""
        return "relay"

    @property
    def resumable(self) -> None:
        """It cannot go on in a fork yet: nothing in the guest would set its clock."""

    @property
    def breaker(self) -> None:
        """There is no debugger."""

    @property
    def raw_file(self) -> Path:
        """The file that holds every byte of the debug console."""
        return self._file.path

    @property
    def position(self) -> RelayPosition | None:
        """Where the print relay stands behind the last record that was read; to be kept with a snapshot."""
        return self._decoder.position

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
        """Have the print relay write a mark and wait until it arrives; see :class:`lab.prints.record.PrintSource`.

        Args:
            token: Printable ASCII without blanks, at most 128 characters; unique in this guest's life.
            timeout: Seconds for all of it.
        """
        hint = "a full disk would explain it; `lab relay decode` on that file shows what came"
        return self._file.mark(token, self._have_written, who="the guest's print relay", hint=hint, timeout=timeout)

    def close(self) -> None:
        """Read what has already arrived and stop."""
        if self._file.close():
            self._on_close()

    def _have_written(self, token: str, timeout: float) -> None:
        try:
            self._write_mark(token, timeout)
        except EvidenceLost:
            raise
        except GuestError as error:
            raise EvidenceLost(
                f"the guest's print relay was not reached for marker {token}: {error.message}", hint=error.hint
            ) from error
