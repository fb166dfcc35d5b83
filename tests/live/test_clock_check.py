"""A guest that counts more time than has passed is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lab.errors import GuestClockWrong
from lab.live.clock_check import require_sound_clock
from lab.prints.log import RecordLog
from lab.prints.record import MarkRecord, NoteRecord, Record
from lab.prints.timer import GuestTimer


class Prints:
    """A source that answers each marker at a given guest time."""

    name = "test"

    def __init__(self, uptime: float | None) -> None:
        self._uptime = uptime
        self._log = RecordLog()
        self._log.extend([NoteRecord(sequence=0, host_time=0.0, text="boot")])

    @property
    def resumable(self) -> None:
        return None

    @property
    def timer(self) -> GuestTimer | None:
        return None

    @property
    def breaker(self) -> None:
        return None

    def start(self) -> None: ...

    def records_since(self, position: int) -> list[Record]:
        return self._log.since(position)

    def wait(self, position: int, until: Callable[[list[Record]], bool], *, timeout: float) -> list[Record]:
        return self._log.wait(position, until, timeout=timeout)

    def mark(self, token: str, *, timeout: float) -> int:
        self._log.extend([MarkRecord(sequence=len(self._log), host_time=0.0, guest_time=self._uptime, token=token)])
        return len(self._log)

    def close(self) -> None: ...


@pytest.mark.parametrize(("uptime", "passed"), [(32.0, 33.0), (33.5, 33.0), (0.5, 60.0), (None, 1.0)])
def test_a_clock_that_lags_a_little_or_is_unknown_is_accepted(uptime: float | None, passed: float) -> None:
    require_sound_clock(Prints(uptime), lambda: passed)


def test_a_clock_that_runs_fast_is_reported_with_both_figures() -> None:
    with pytest.raises(GuestClockWrong, match="it counts 454 s since its start, and 33 s have passed") as caught:
        require_sound_clock(Prints(453.52), lambda: 33.2)
    assert "busy" in caught.value.hint
