"""Which print belongs to what: every print of a guest's life is credited to the boot, to one test, or to nobody.

Positions are indexes of the source's record stream; markers make them exact, because a marker travels the same path as
the prints. The ledger only ever moves forward, so no record is counted twice and none is left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from lab.errors import EvidenceLost
from lab.prints.encoded import in_encoding
from lab.prints.kernel import with_kernel_prints
from lab.prints.record import FaultRecord, GapRecord, NoteRecord, PrintRecord, PrintSource, Record
from lab.prints.stream import PrintStream, first_fault


def token_maker(prefix: str) -> Callable[[], str]:
    """A function that returns ``prefix-0``, ``prefix-1``, …: marker tokens of one guest."""
    counter = itertools.count()
    return lambda: f"{prefix}-{next(counter)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What came between the two markers of a test.

    Attributes:
        name: The test's name.
        records: Everything that came, in order.
        complete: False when the closing marker did not come back: more prints may be missing.
    """

    name: str
    records: tuple[Record, ...]
    complete: bool = True

    @property
    def prints(self) -> list[PrintRecord]:
        """The prints alone, those of the kernel itself included."""
        return [record for record in self.records if isinstance(record, PrintRecord)]

    @property
    def gaps(self) -> list[str]:
        """Why prints are missing, one sentence for each place; empty when none are."""
        reasons = [record.reason for record in self.records if isinstance(record, GapRecord)]
        return reasons if self.complete else [*reasons, "the marker after the test did not arrive"]

    def check(self) -> None:
        """Raise :class:`~lab.errors.EvidenceLost` when prints of this window are missing."""
        if self.gaps:
            raise EvidenceLost(f"kernel prints of {self.name} are missing: {'; '.join(self.gaps)}")


def without_faults(window: Window, *, behind: int) -> Window:
    """A window in which a fault behind the first so many records is a mere note: the lab itself provoked it."""
    records = [
        NoteRecord(sequence=record.sequence, host_time=record.host_time, text=record.text)
        if index >= behind and isinstance(record, FaultRecord)
        else record
        for index, record in enumerate(window.records)
    ]
    return replace(window, records=tuple(records))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Where the prints of one guest's life went.

    Attributes:
        boot: Prints before the first test.
        credited: How many prints went to tests.
        unattributed: Prints outside of the boot and of every test.
        gaps: Why prints are missing, anywhere in the guest's life.
        faults: Driver faults outside of every window; those inside of one are that test's.
    """

    boot: tuple[PrintRecord, ...] = ()
    credited: int = 0
    unattributed: tuple[PrintRecord, ...] = ()
    gaps: tuple[str, ...] = ()
    faults: tuple[FaultRecord, ...] = ()

    @property
    def total(self) -> int:
        """All prints of the guest."""
        return len(self.boot) + self.credited + len(self.unattributed)


@dataclass(slots=True)
class _Account:
    boot: list[PrintRecord] = field(default_factory=list)
    credited: int = 0
    unattributed: list[PrintRecord] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    faults: list[FaultRecord] = field(default_factory=list)


class PrintLedger:
    """Credits the prints of one guest.

    Args:
        source: The guest's print source, started.
        guest_id: Names the markers.
        mark_timeout: Seconds that a marker may take.
        kernel_prints: Patterns of what the kernel itself prints; see :mod:`lab.prints.kernel`.

    Attributes:
        windows: How many windows were opened so far.
        next_token: Gives a fresh marker token of this guest.
    """

    def __init__(
        self, source: PrintSource, guest_id: str, *, mark_timeout: float = 30.0, kernel_prints: Sequence[str] = ()
    ) -> None:
        self._source = with_kernel_prints(source, kernel_prints)
        #: The source as the open window sees it.
        self._view: PrintSource = self._source
        self._mark_timeout = mark_timeout
        self._account = _Account()
        self._accounted = 0
        self._open: str | None = None
        self.windows = 0
        self.next_token = token_maker(guest_id)

    def end_boot(self, *, alive: bool = True) -> None:
        """Credit everything so far to the boot; its driver faults are kept.

        Args:
            alive: Whether the guest can still answer a marker; without one, what has arrived is credited.

        Raises:
            EvidenceLost: The marker did not come back.
        """
        for record in self._advance(self._mark() if alive else None):
            if isinstance(record, PrintRecord):
                self._account.boot.append(record)
            elif isinstance(record, FaultRecord):
                self._account.faults.append(record)

    def open(
        self, name: str, *, expected_fault: int | None = None, with_load: bool = False, encoding: str | None = None
    ) -> PrintStream:
        """Begin a test's window; what came since the last one belongs to nobody.

        A driver fault is never nobody's: a window begins with one that came since the last window.

        Args:
            name: The test's name.
            with_load: The first window of a fork: what was printed when its drivers were loaded belongs to it.
            expected_fault: Code of the fault that the test provokes; the stream does not raise for it.
            encoding: Of the text that the test's drivers print; None: the source's.

        Raises:
            EvidenceLost: The marker did not come back.
        """
        if self._open is not None:
            raise ValueError(f"the window of {self._open} is still open")
        position = self._mark()
        skipped = self._source.records_since(self._accounted)[: position - self._accounted]
        fault = next((index for index, record in enumerate(skipped) if isinstance(record, FaultRecord)), None)
        if self.windows or not with_load:
            self._unattribute(position if fault is None else self._accounted + fault)
        self._open = name
        self.windows += 1
        if encoding is not None:
            self._view = in_encoding(self._source, encoding)
        return PrintStream(
            self._view,
            self._accounted,
            self.next_token,
            load_end=position - self._accounted if fault is None else 0,
            mark_timeout=self._mark_timeout,
            expected_fault=expected_fault,
        )

    def peek(self) -> list[Record]:
        """The records of the open window so far."""
        return self._view.records_since(self._accounted)

    def fault(self, *, timeout: float) -> FaultRecord | None:
        """The first driver fault of the open window, which may still be on its way.

        Args:
            timeout: Seconds to wait for one.
        """
        return first_fault(
            self._source.wait(self._accounted, lambda records: first_fault(records) is not None, timeout=timeout)
        )

    def close(self, *, alive: bool = True) -> Window:
        """End the open window and credit its prints to the test.

        Args:
            alive: Whether the guest can still answer a marker; without one the window holds what has arrived.
        """
        if self._open is None:
            raise ValueError("no window is open")
        name, self._open = self._open, None
        complete = False
        position = None
        if alive:
            try:
                position = self._mark()
                complete = True
            except EvidenceLost:
                complete = False
        records = self._advance(position)
        self._view = self._source
        self._account.credited += sum(isinstance(record, PrintRecord) for record in records)
        # A guest that a driver took down cannot answer; its fault is the reason, not a loss of prints.
        return Window(name=name, records=tuple(records), complete=complete or first_fault(records) is not None)

    def finish(self) -> Attribution:
        """The end of the guest: what was not credited belongs to nobody. May be called again."""
        self._unattribute(None)
        account = self._account
        return Attribution(
            boot=tuple(account.boot),
            credited=account.credited,
            unattributed=tuple(account.unattributed),
            gaps=tuple(account.gaps),
            faults=tuple(account.faults),
        )

    def _mark(self) -> int:
        return self._source.mark(self.next_token(), timeout=self._mark_timeout)

    def _unattribute(self, position: int | None) -> None:
        for record in self._advance(position):
            if isinstance(record, PrintRecord):
                self._account.unattributed.append(record)
            elif isinstance(record, FaultRecord):
                self._account.faults.append(record)

    def _advance(self, position: int | None) -> list[Record]:
        records = self._view.records_since(self._accounted)
        if position is not None:
            records = records[: position - self._accounted]
        self._accounted += len(records)
        self._account.gaps.extend(record.reason for record in records if isinstance(record, GapRecord))
        return records
