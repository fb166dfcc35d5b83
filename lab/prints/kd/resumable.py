"""A debugged guest as a template and as a fork: the packet ids of both sides, taken when no packet is on its way.

A snapshot contains the kernel's side of the ids, so the collector of a fork continues the other side. A packet or an answer
that is on its way is not part of a snapshot, and the two sides do not agree until it has arrived. So no snapshot is taken
before the collector has answered everything, and the guest's serial port has taken the answers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from lab.errors import SnapshotFailed
from lab.prints.kd.control import Status
from lab.prints.kd.ids import SessionIds
from lab.prints.resume import PrintsState

_RECEIVE: Final = "receive"
_SEND: Final = "send"
_LAST: Final = "last"


class KdResumable:
    """A :class:`lab.prints.resume.ResumableSource` over the records of a collector.

    Args:
        records: The file that the collector appends to.
        status: Asks the collector for the state of its session.
        read: Number of records that the source has read from the file.
        hang_up: Closes the connection over which markers are printed.
        replay: Records that the source read before those of the file.
    """

    def __init__(
        self,
        records: Path,
        *,
        status: Callable[[], Status],
        read: Callable[[], int],
        hang_up: Callable[[], None],
        replay: bytes = b"",
    ) -> None:
        self._records = records
        self._status = status
        self._read = read
        self._hang_up = hang_up
        self._replay = replay

    def hang_up(self) -> None:
        """See :class:`lab.prints.resume.ResumableSource`."""
        self._hang_up()

    def snapshot_state(self, *, replay: bool = False) -> PrintsState | None:
        """See :class:`lab.prints.resume.ResumableSource`.

        Raises:
            SnapshotFailed: The kernel is stopped at an exception, or another debugger has it.
            TransportError: The collector does not answer.
        """
        status = self._status()
        if status.held:
            raise SnapshotFailed("the guest's kernel is stopped at an exception, and a fork of it would be stopped, too")
        if status.borrowed:
            raise SnapshotFailed("another debugger has the guest's kernel", hint="end it, or `lab kd control SOCKET take-back`")
        # Records may still be on their way into the file.
        if not status.idle or self._read() != status.records:
            return None
        before = self._replay + self._records.read_bytes() if replay else b""
        return state_of(status.ids, replay=before)

    def resume(self, seconds: float, entropy: bytes, *, let_run: Callable[[], None], timeout: float) -> None:
        """See :class:`lab.prints.resume.ResumableSource`; the debugger cannot set the guest's clock."""
        del seconds, entropy, timeout
        let_run()


def state_of(ids: SessionIds, *, replay: bytes = b"") -> PrintsState:
    """The state of a template, from the ids of its session."""
    numbers = {name: number for name, number in ((_RECEIVE, ids.receive), (_SEND, ids.send)) if number is not None}
    return PrintsState(numbers=numbers, texts={_LAST: ids.last}, replay=replay)


def ids_of(state: PrintsState) -> SessionIds:
    """The ids of a state of :func:`state_of`."""
    return SessionIds(state.numbers.get(_RECEIVE), state.numbers.get(_SEND), state.texts.get(_LAST, ""))
