"""The counters of one guest, from one read to the next."""

from __future__ import annotations

from collections.abc import Iterable

from lab.coverage.gcda import Counters
from lab.coverage.records import LoadRecord, State


class GuestCounters:
    """Subtracts from each read of a guest what was counted at the read before.

    A fork inherits the counters of its template. What its drivers did there is that of the first read, as their prints from the
    load on are those of the first test. The numbers of loads continue, so that a driver which was loaded again begins at zero.
    """

    def __init__(self) -> None:
        self._before: dict[int, dict[str, Counters]] = {}

    def since_last(self, records: Iterable[LoadRecord]) -> tuple[dict[str, dict[str, Counters]], tuple[str, ...]]:
        """The counters of one read, without those of the reads before.

        Returns:
            Driver → name of a note file → counters; and the drivers whose last counters were lost.
        """
        found: dict[str, dict[str, Counters]] = {}
        lost: list[str] = []
        for record in records:
            before = self._before.pop(record.number, {})
            if record.state is State.LOST:
                lost.append(record.driver)
                continue
            of_driver = found.setdefault(record.driver, {})
            for name, counters in record.counters.items():
                new = counters.since(before[name]) if name in before else counters
                of_driver[name] = of_driver[name].plus(new) if name in of_driver else new
            if record.state is State.LIVE:
                self._before[record.number] = dict(record.counters)
        return found, tuple(lost)
