"""Assigns prints: each print of a guest belongs to the boot, to one test, or is unassigned.

Positions are indexes of the source's record stream; markers make them exact, because a marker takes the same path as the
prints. The ledger only moves forward, so no record is counted twice or left out.
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
from lab.prints.uptime import marked_at
from lab.vm.moment import Moment


def token_maker(prefix: str) -> Callable[[], str]:
    """A function that returns ``prefix-0``, ``prefix-1``, …: marker tokens of one guest."""
    counter = itertools.count()
    return lambda: f"{prefix}-{next(counter)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The records between the two markers of a test.

    Attributes:
        name: The test's name.
        records: All records, in order.
        complete: False if the closing marker did not arrive: prints may be missing.
    """

    name: str
    records: tuple[Record, ...]
    complete: bool = True

    @property
    def prints(self) -> list[PrintRecord]:
        """Only the prints, including those of the kernel itself."""
        return [record for record in self.records if isinstance(record, PrintRecord)]

    @property
    def gaps(self) -> list[str]:
        """Why prints are missing, one sentence for each place; empty if none are."""
        reasons = [record.reason for record in self.records if isinstance(record, GapRecord)]
        return reasons if self.complete else [*reasons, "the marker after the test did not arrive"]

    def check(self) -> None:
        """Raise :class:`~lab.errors.EvidenceLost` if prints of this window are missing."""
        if self.gaps:
            raise EvidenceLost(f"kernel prints of {self.name} are missing: {'; '.join(self.gaps)}")


def without_faults(window: Window, *, after: int) -> Window:
    """The same window, with faults after the first ``after`` records turned into notes: the lab itself provoked them."""
    records = [
        NoteRecord(sequence=record.sequence, host_time=record.host_time, text=record.text)
        if index >= after and isinstance(record, FaultRecord)
        else record
        for index, record in enumerate(window.records)
    ]
    return replace(window, records=tuple(records))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """How the prints of one guest were assigned.

    Attributes:
        boot: Prints before the first test.
        assigned: Number of prints that belong to tests.
        unattributed: Prints outside of the boot and of every test.
        gaps: Why prints are missing, at any time.
        faults: Driver faults outside of every window; those inside of a window belong to its test.
    """

    boot: tuple[PrintRecord, ...] = ()
    assigned: int = 0
    unattributed: tuple[PrintRecord, ...] = ()
    gaps: tuple[str, ...] = ()
    faults: tuple[FaultRecord, ...] = ()

    @property
    def total(self) -> int:
        """All prints of the guest."""
        return len(self.boot) + self.assigned + len(self.unattributed)


@dataclass(slots=True)
class _Account:
    boot: list[PrintRecord] = field(default_factory=list)
    assigned: int = 0
    unattributed: list[PrintRecord] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    faults: list[FaultRecord] = field(default_factory=list)


class PrintLedger:
    """Assigns the prints of one guest.

    Args:
        source: The guest's print source, started.
        guest_id: Prefix of the markers.
        mark_timeout: Seconds that a marker may take.
        kernel_prints: Patterns of the kernel's own prints; see :mod:`lab.prints.kernel`.
        rest: See :class:`lab.prints.stream.PrintStream`.
        moment: The same.

    Attributes:
        windows: How many windows were opened so far.
        next_token: Returns a new marker token of this guest.
    """

    def __init__(
        self,
        source: PrintSource,
        guest_id: str,
        *,
        mark_timeout: float = 30.0,
        kernel_prints: Sequence[str] = (),
        rest: Callable[[float], None] | None = None,
        moment: Moment | None = None,
    ) -> None:
        self._source = with_kernel_prints(source, kernel_prints)
        #: The source as the open window sees it.
        self._view: PrintSource = self._source
        self._mark_timeout = mark_timeout
        self._rest = rest
        self._moment = moment
        self._account = _Account()
        self._accounted = 0
        self._open: str | None = None
        self.windows = 0
        self.next_token = token_maker(guest_id)

    def end_boot(self, *, alive: bool = True) -> None:
        """Assign all records so far to the boot; its driver faults are remembered.

        Args:
            alive: Whether the guest can still answer a marker; without one, the records that have arrived are assigned.

        Raises:
            EvidenceLost: The marker did not arrive.
        """
        for record in self._advance(self._mark() if alive else None):
            if isinstance(record, PrintRecord):
                self._account.boot.append(record)
            elif isinstance(record, FaultRecord):
                self._account.faults.append(record)

    def open(
        self, name: str, *, expected_fault: int | None = None, with_load: bool = False, encoding: str | None = None
    ) -> PrintStream:
        """Begin a test's window. Prints since the last window stay unassigned.

        A driver fault is never unassigned: if one came since the last window, this window begins with it.

        Args:
            name: The test's name.
            with_load: The first window of a fork includes the prints of the load of its drivers.
            expected_fault: Code of the fault that the test provokes; the stream does not raise for it.
            encoding: Encoding of the texts of the test's drivers; None: the source's.

        Raises:
            EvidenceLost: The marker did not arrive.
        """
        if self._open is not None:
            raise ValueError(f"the window of {self._open} is still open")
        position = self._mark()
        if self._moment is not None:
            self._moment.reached(marked_at(self._source, position))
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
            rest=self._rest,
            moment=self._moment,
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
        """End the open window and assign its prints to the test.

        Args:
            alive: Whether the guest can still answer a marker; without one, the window holds the records that have arrived.
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
        self._account.assigned += sum(isinstance(record, PrintRecord) for record in records)
        # A guest that crashed cannot answer. The fault is the reason, so no prints count as lost.
        return Window(name=name, records=tuple(records), complete=complete or first_fault(records) is not None)

    def finish(self) -> Attribution:
        """End of the guest: the remaining prints are unassigned. May be called again."""
        self._unattribute(None)
        account = self._account
        return Attribution(
            boot=tuple(account.boot),
            assigned=account.assigned,
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
