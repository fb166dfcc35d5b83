"""The print source of a guest with the print relay: follows the file to which QEMU writes its debug console."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lab.prints.file_source import FilePrintSource
from lab.prints.record import Record
from lab.prints.relay.decoder import RelayDecoder, RelayPosition
from lab.prints.relay.start import position_in, state_of
from lab.prints.resume import PrintsState, ResumableSource

#: The log of :attr:`lab.vm.spec.VmSpec.debug_port` in a VM's run folder.
LOG_FILE = "debugcon.log"


class RelayFrames(RelayDecoder):
    """A :class:`lab.prints.follow.Decoder`."""

    def rest(self, silent_s: float) -> list[Record]:
        """See :class:`lab.prints.follow.Decoder`."""
        return []  # a frame has its length


class RelayPrintSource(FilePrintSource):
    """Print source over a file chardev: QEMU never blocks on it, and the file itself is the raw evidence.

    A print is in the file when the guest's DbgPrint returns. So a marker that the print relay writes afterwards comes after it,
    whichever processor printed.

    Args:
        path: The log; it may not exist yet.
        write_mark: Makes the guest's print relay write a marker with this token, within some seconds; returns when it is
            written.
        encoding: Encoding of the drivers' strings.
        resume: What :meth:`snapshot_state` returned when the fork's snapshot was taken; None: the log begins with the guest's
            boot.
        hang_up: Closes the connection of ``write_mark``, which opens a new one where it needs it.
        on_close: Called at the end of :meth:`close`; closes the connection of ``write_mark``.
        wall: Wall clock in seconds.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        path: Path,
        write_mark: Callable[[str, float], None],
        *,
        encoding: str = "cp1252",
        resume: PrintsState | None = None,
        hang_up: Callable[[], None] = lambda: None,
        on_close: Callable[[], None] = lambda: None,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._resume = resume or PrintsState()
        self._hang_up = hang_up
        decoder = RelayFrames(encoding, position_in(self._resume))
        super().__init__(
            "relay",
            path,
            decoder,
            write_mark,
            what="the log of the debug console",
            who="the guest's print relay",
            hint="a full disk is a possible cause; `lab relay decode` shows the records of that file",
            replay=self._resume.replay,
            on_close=on_close,
            wall=wall,
            clock=clock,
        )
        self._decoder = decoder

    @property
    def position(self) -> RelayPosition | None:
        """Position of the print relay after the last record that was read."""
        return self._decoder.position

    @property
    def resumable(self) -> ResumableSource:
        """The source itself."""
        return self

    def hang_up(self) -> None:
        """See :class:`lab.prints.resume.ResumableSource`."""
        self._hang_up()

    def snapshot_state(self, *, replay: bool = False) -> PrintsState | None:
        """See :class:`lab.prints.resume.ResumableSource`.

        A guest may be stopped in the middle of a record: its processor writes the bytes one by one. Then the state has the
        first part, and the log of each fork begins with the rest.
        """
        log = self.raw_file
        size = log.stat().st_size if log.exists() else 0
        if self._file.broken or self._file.taken != size:
            return None
        if replay:
            return replace(self._resume, replay=self._resume.replay + (log.read_bytes() if size else b""))
        tail = self._decoder.tail
        return None if tail is None else state_of(self._decoder.position, tail)

    def resume(self, seconds: float, entropy: bytes, *, let_run: Callable[[], None], timeout: float) -> None:
        """Let the guest run: the print relay takes no requests about the clock or about random numbers."""
        let_run()
