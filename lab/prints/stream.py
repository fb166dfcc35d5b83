"""A test's view of the kernel prints: it expects prints, and gets an explanation if they did not come."""

from __future__ import annotations

import itertools
import re
import time
import warnings
from collections.abc import Callable, Sequence

from lab.errors import EvidenceLost, GuestCrashed, GuestError, GuestLacks
from lab.guest.lacks import in_words
from lab.prints.fields import Fields
from lab.prints.matching import Expected, PrintMismatch, PrintsLate, PrintsMissing, clean, explain, find, with_fields
from lab.prints.record import EventRecord, FaultRecord, GapRecord, PrintRecord, PrintSource, Record
from lab.prints.uptime import marked_at
from lab.vm.moment import Moment

__all__ = ["Expected", "PrintMismatch", "PrintStream", "clean", "fault_error", "first_fault", "guest_gaps", "render"]

#: Stamps have whole milliseconds.
_ROUNDED_S = 0.002
#: Guest seconds that pass, with a virtual clock, while the prints until now are asked for: about as long as that takes with a
#: real one, so that a worker of the driver which has just been woken has its turn.
_ASKING_S = 0.02


def guest_gaps(records: Sequence[PrintRecord]) -> list[float]:
    """Guest seconds from each print to the next; see :attr:`lab.prints.record.PrintRecord.when`.

    Raises:
        EvidenceLost: A print has no usable time stamp.
    """
    times: list[float] = []
    for record in records:
        if record.when is None:
            raise EvidenceLost(f"print {clean(record.text)!r} has no guest time stamp, because source {record.source} has none")
        times.append(record.when)
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def first_fault(records: Sequence[Record]) -> FaultRecord | None:
    """The first driver fault among records."""
    return next((record for record in records if isinstance(record, FaultRecord)), None)


def fault_error(record: FaultRecord, message: str = "") -> GuestError:
    """The error to raise for a driver fault.

    Args:
        record: The fault.
        message: What happened, for a crash; empty: the default message.
    """
    if record.lacks:
        return GuestLacks(record.lacks, in_words(record.lacks))
    return GuestCrashed(record.code, record.parameters, message=message)


class PrintStream:
    """The prints since the start of a test.

    ``expect`` consumes: each call continues after the last print that an earlier call matched.

    A guest with a virtual clock runs on for a moment after each answer. What it prints in that time is later than anything that
    the test has waited for. It is kept for the next call of ``expect``, and otherwise shown when the test has come so far.

    Args:
        source: Where the guest's prints come from.
        position: Stream index at which the test's window begins.
        next_token: Returns a new marker token.
        load_end: Number of records at the start of the window that came while the drivers of its fork were loaded.
        mark_timeout: Seconds that a marker may take.
        expected_fault: Code of the driver fault that the test provokes; only other faults are raised.
        rest: Lets some seconds pass in a guest with a virtual clock; None: its clock is real.
        moment: How far the test has come in the time of such a guest; None: its clock is real.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        source: PrintSource,
        position: int,
        next_token: Callable[[], str],
        *,
        load_end: int = 0,
        mark_timeout: float = 30.0,
        expected_fault: int | None = None,
        rest: Callable[[float], None] | None = None,
        moment: Moment | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._begin = position
        self._load_end = load_end
        self._loading = False
        self._consumed = 0
        self._next_token = next_token
        self._mark_timeout = mark_timeout
        self._expected_fault = expected_fault
        self._rest = rest
        self._moment = moment
        self._clock = clock

    def records(self) -> list[PrintRecord]:
        """All prints of the drivers so far, including those that ``expect`` has already matched; not the kernel's own."""
        return self._seen(self._source.records_since(self._begin))

    def texts(self) -> list[str]:
        """The texts of :meth:`records`, without trailing blanks and newlines."""
        return [clean(record.text) for record in self.records()]

    def note_load(self) -> None:
        """Note that a driver was loaded for the test: the records so far belong to the load. For the fixtures."""
        self._loading = True

    def end_load(self) -> None:
        """Note that the test's drivers are ready: the prints so far belong to their load.

        For the fixtures; only the first call counts.

        Raises:
            EvidenceLost: The marker did not arrive.
        """
        if self._loading:
            self._loading = False
            position = self._ask()
            self._load_end = self._until_now(self._source.records_since(self._begin)[: position - self._begin])

    @property
    def load(self) -> list[PrintRecord]:
        """The prints until the test's drivers were ready: of their load, and of the unload of an earlier driver."""
        return _prints(self._source.records_since(self._begin)[: self._load_end])

    def skip_load(self) -> list[PrintRecord]:
        """Skip the prints of :attr:`load` for ``expect``, and return them."""
        load = self.load
        self._consumed = max(self._consumed, len(load))
        return load

    def drain(self) -> list[PrintRecord]:
        """Wait until all prints so far have arrived (with a marker), then return :meth:`records`.

        Raises:
            EvidenceLost: The marker did not arrive, or prints are missing.
            GuestCrashed: The driver faulted.
        """
        self._ask()
        return self._seen(self._checked())

    def expect(
        self,
        expected: Expected | Sequence[Expected],
        *,
        timeout: float = 10.0,
        guest_gap: tuple[float, float] | None = None,
        skip_others: bool = False,
    ) -> list[PrintRecord]:
        """Wait for prints, in this order, and return their records.

        Args:
            expected: Texts (compared without trailing blanks and newlines), compiled patterns (which match the whole text), or
                :func:`lab.prints.fields.fields`. Named groups and fields are in the records: ``record["name"]``.
            timeout: Deadline for all of them, in seconds of the host.
            guest_gap: Minimum and maximum of guest seconds between two matched prints in a row; None: any.
            skip_others: Ignore prints that do not match; otherwise any print that is not the next expected one is a failure.

        Raises:
            PrintMismatch: Another print came; the message compares both lists.
            PrintsMissing: The deadline passed. A ``PrintsLate``, too.
            PrintsLate: Two prints are not ``guest_gap`` apart. A ``PrintMismatch`` and a ``TimingFailed``, too.
            EvidenceLost: Prints are missing.
            GuestCrashed: The driver faulted.
            GuestLacks: The driver called a function that this guest does not have.
        """
        __tracebackhide__ = True
        wanted: list[Expected] = [expected] if isinstance(expected, str | re.Pattern | Fields) else list(expected)
        deadline = self._clock() + timeout
        # One marker fetches all prints before this call, so that most calls never wait.
        self._fetch()
        self._checked()
        begin = self._begin

        def decided(records: list[Record]) -> bool:
            if self._fault(records) is not None or any(isinstance(record, GapRecord) for record in records):
                return True
            found, wrong = find(wanted, _prints(records)[self._consumed :], skip_others)
            return wrong or len(found) == len(wanted)

        self._source.wait(begin, decided, timeout=max(deadline - self._clock(), 0.0))
        came = _prints(self._checked())[self._consumed :]
        found, wrong = find(wanted, came, skip_others)
        if len(found) < len(wanted):
            position = self._fetch()
            came = _prints(self._checked())[self._consumed :]
            found, wrong = find(wanted, came, skip_others)
        if len(found) < len(wanted):
            if self._moment is not None:  # a test that goes on has waited so long
                self._moment.reached(marked_at(self._source, position))
            of_load = max(len(self.load) - self._consumed, 0)
            kind = PrintMismatch if wrong else PrintsMissing
            raise kind(explain(wanted, came, timeout, skip_others=skip_others, of_load=of_load))
        self._consumed += found[-1] + 1 if found else 0
        if self._moment is not None and found:
            self._moment.reached(came[found[-1]].guest_time)
        records = [with_fields(item, came[index]) for item, index in zip(wanted, found, strict=True)]
        if guest_gap is not None:
            _check_gaps(records, guest_gap)
        return records

    def expect_none(self, *, wait: float = 0.0, settle: float | None = None) -> None:
        """Check that nothing was printed except what ``expect`` has matched.

        Args:
            wait: Seconds of the guest to wait for a late print before the check. With a virtual clock, they count from the last
                event that the test has seen, as in ``guest.sleep``; later prints do not count, whenever the guest is stopped.
            settle: The old name of ``wait``, for one release.

        Raises:
            PrintMismatch: There was a print.
        """
        __tracebackhide__ = True
        if settle is not None:
            warnings.warn("expect_none(settle=…) is now expect_none(wait=…)", DeprecationWarning, stacklevel=2)
            wait = settle
        self._ask(wait if wait > 0 else _ASKING_S)
        if wait > 0 and self._rest is None:
            self._checked()
            self._source.wait(self._begin, lambda records: len(_prints(records)) > self._consumed, timeout=wait)
            self._fetch()
        came = self._seen(self._checked())[self._consumed :]
        if came:
            raise PrintMismatch(f"no kernel print was expected, and {len(came)} came:\n{render(came)}")

    def _ask(self, wait: float = _ASKING_S) -> int:
        """Fetch all prints so far; in a guest with a virtual clock, those of so many seconds more. Returns their end."""
        if self._rest is not None:
            self._rest(wait)
        return self._fetch()

    def _fetch(self) -> int:
        """Wait until all prints so far have arrived, and return the position of their end."""
        position = self._source.mark(self._next_token(), timeout=self._mark_timeout)
        if self._moment is not None:
            self._moment.not_after(marked_at(self._source, position))
        return position

    def _seen(self, records: Sequence[Record]) -> list[PrintRecord]:
        """The prints among the records of this window that the test has come to."""
        return _prints(records[: self._until_now(records)])

    def _until_now(self, records: Sequence[Record]) -> int:
        """How many of the records of this window the test has come to.

        Up to the first print that is later, because stamps of two threads may be in another order than their prints. What an
        expectation has matched is not later.
        """
        now = None if self._moment is None else self._moment.at
        if now is None:
            return len(records)
        prints = 0
        for index, record in enumerate(records):
            if not isinstance(record, PrintRecord) or record.by_kernel:
                continue
            prints += 1
            if prints > self._consumed and record.guest_time is not None and record.guest_time > now + _ROUNDED_S:
                return index
        return len(records)

    def _checked(self) -> list[Record]:
        records = self._source.records_since(self._begin)
        fault = self._fault(records)
        if fault is not None:
            raise fault_error(fault)
        gap = next((record for record in records if isinstance(record, GapRecord)), None)
        if gap is not None:
            raise EvidenceLost(f"kernel prints of this test are missing: {gap.reason}")
        return records

    def _fault(self, records: Sequence[Record]) -> FaultRecord | None:
        """The first driver fault, except the one that the test provokes."""
        return first_fault([r for r in records if not (isinstance(r, FaultRecord) and r.code == self._expected_fault)])


def render(records: Sequence[Record]) -> str:
    """Records as lines for people: guest time, thread, text; faults and gaps stand out."""
    lines = []
    for record in records:
        if isinstance(record, PrintRecord):
            stamp = f"{record.guest_time:12.3f}" if record.guest_time is not None else " " * 12
            thread = record.thread or (f"CPU {record.cpu}" if record.cpu is not None else "")
            kind = "[kernel] " if record.by_kernel else "[unlike NT] " if record.unlike_nt else ""
            lines.append(f"{stamp}  {thread:9}  {kind}{clean(record.text)}")
        elif isinstance(record, FaultRecord):
            lines.append(f"*** {in_words(record.lacks)}: {record.text}" if record.lacks else f"*** driver fault: {record.text}")
        elif isinstance(record, GapRecord):
            lines.append(f"*** prints missing: {record.reason}")
        elif isinstance(record, EventRecord):
            lines.append(f"[{record.kind}] {record.text}")
    return "\n".join(lines)


def _prints(records: Sequence[Record]) -> list[PrintRecord]:
    """The prints that tests count: without those of the kernel itself."""
    return [record for record in records if isinstance(record, PrintRecord) and not record.by_kernel]


def _check_gaps(records: Sequence[PrintRecord], guest_gap: tuple[float, float]) -> None:
    __tracebackhide__ = True
    least, most = guest_gap
    for index, gap in enumerate(guest_gaps(records)):
        if not least <= gap <= most:
            raise PrintsLate(
                f"{gap:.6f} guest seconds between prints {index + 1} and {index + 2}, not {least:g} to {most:g}:\n"
                + render(records)
            )
