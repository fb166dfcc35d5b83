"""The free guest's print source: the file to which QEMU writes its print port, and markers from its print agent."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from lab.errors import EvidenceLost, TransportError
from lab.prints.agent import PrintAgent
from lab.prints.decode import WineDecoder
from lab.prints.file_source import FilePrintSource
from lab.prints.record import Record
from lab.prints.resume import PrintsState, ResumableSource
from lab.prints.timer import GuestTimer

#: A print without a following line counts as complete after so many seconds; a marker makes it complete at once.
QUIET_S = 0.1
_NEXT_LINE = "next_line"
_NOT_RESUMED = "`--no-fork` boots every guest instead; the console log shows what the guest did"


class WineLines(WineDecoder):
    """A :class:`lab.prints.follow.Decoder`."""

    def rest(self, silent_s: float) -> list[Record]:
        """See :class:`lab.prints.follow.Decoder`."""
        return self.flush() if self.waiting and silent_s >= QUIET_S else []


class WinePrintSource(FilePrintSource):
    """Print source over a file chardev.

    Args:
        path: The file of the guest's print port; it may not exist yet.
        agent: Client of the guest's print agent.
        encoding: Encoding of the driver's strings.
        resume: Position of the stream at the snapshot; None after a boot.
        joins: The guest has been running for a while, so the file may begin at any line number.
        wall: Wall clock in seconds.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        path: Path,
        agent: PrintAgent,
        *,
        encoding: str = "utf-8",
        resume: PrintsState | None = None,
        joins: bool = False,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._agent = agent
        self._resume = resume
        decoder = WineLines(encoding, first_line=resume.numbers[_NEXT_LINE] if resume else None if joins else 0)
        super().__init__(
            "wine",
            path,
            decoder,
            self._write_mark,
            what="the print file",
            who="the guest's print agent",
            hint="see the last bytes of that file; possible causes are a guest that hangs, a full disk, and a damaged line",
            replay=resume.replay if resume else b"",
            on_close=agent.close,
            wall=wall,
            clock=clock,
        )
        self._decoder = decoder

    @property
    def resumable(self) -> ResumableSource:
        """The source itself."""
        return self

    def hang_up(self) -> None:
        """Nothing: the print agent waits on its channel, which a snapshot does not break."""

    def snapshot_state(self, *, replay: bool = False) -> PrintsState | None:
        """See :class:`lab.prints.resume.ResumableSource`."""
        path = self._file.path
        size = path.stat().st_size if path.exists() else 0
        line = self._decoder.next_line
        if self._file.broken or self._file.taken != size or line is None:
            return None
        if not replay:
            return PrintsState(numbers={_NEXT_LINE: line})
        # The lines that are read again are counted again.
        before = self._resume or PrintsState(numbers={_NEXT_LINE: 0})
        return PrintsState(numbers=before.numbers, replay=before.replay + (path.read_bytes() if size else b""))

    def resume(self, seconds: float, entropy: bytes, *, let_run: Callable[[], None], timeout: float) -> None:
        """See :class:`lab.prints.resume.ResumableSource`."""
        request = b"WAKE %.6f %s\n" % (seconds, entropy.hex().encode("ascii"))
        try:
            answer = self._agent.ask(request, timeout, meanwhile=let_run)
        except OSError as error:
            raise TransportError(
                f"the guest's print agent does not answer after the guest was resumed: {error}", hint=_NOT_RESUMED
            ) from error
        if answer != b"OK\n":
            raise TransportError(
                f"the guest's print agent cannot set the clock: it answered {answer[:64]!r}", hint=_NOT_RESUMED
            )

    @property
    def timer(self) -> GuestTimer:
        """The source itself."""
        return self

    def sleep(self, seconds: float, *, timeout: float) -> None:
        """See :class:`lab.prints.timer.GuestTimer`."""
        where = self._agent.where
        try:
            answer = self._agent.ask(b"SLEEP %.6f\n" % seconds, timeout)
        except OSError as error:
            raise EvidenceLost(f"the guest's print agent at {where} did not answer after {seconds:g} s: {error}") from error
        if answer != b"OK\n":
            raise EvidenceLost(
                f"the guest's print agent at {where} answered {answer[:64]!r} where it should wait {seconds:g} s",
                hint="`lab image build` makes an image with a newer agent",
            )

    def _write_mark(self, token: str, timeout: float) -> None:
        where = self._agent.where
        try:
            answer = self._agent.ask(f"MARK {token}\n".encode("ascii"), timeout)
        except OSError as error:
            raise EvidenceLost(
                f"the guest's print agent at {where} did not accept marker {token}: {error}",
                hint="is the virtual machine still running? See its console log",
            ) from error
        if answer != b"OK\n":
            raise EvidenceLost(f"the guest's print agent at {where} answered {answer[:64]!r} to marker {token}, not OK")
