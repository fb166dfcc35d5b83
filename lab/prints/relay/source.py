"""The print source of a guest with the print relay: follows the file to which QEMU writes its debug console."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from lab.prints.file_source import FilePrintSource
from lab.prints.record import Record
from lab.prints.relay.decoder import RelayDecoder, RelayPosition

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
        resume: Position of the print relay at the snapshot; None: the log begins with the guest's boot.
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
        resume: RelayPosition | None = None,
        on_close: Callable[[], None] = lambda: None,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        decoder = RelayFrames(encoding, resume)
        super().__init__(
            "relay",
            path,
            decoder,
            write_mark,
            what="the log of the debug console",
            who="the guest's print relay",
            hint="a full disk is a possible cause; `lab relay decode` shows the records of that file",
            on_close=on_close,
            wall=wall,
            clock=clock,
        )
        self._decoder = decoder

    @property
    def position(self) -> RelayPosition | None:
        """Position of the print relay after the last record that was read; stored with a snapshot."""
        return self._decoder.position
