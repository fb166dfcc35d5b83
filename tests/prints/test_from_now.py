"""The prints of a guest that has run for a while: they count from a marker on, without a gap before it."""

from __future__ import annotations

import pytest

from lab.errors import EvidenceLost
from lab.prints.changed import ChangedPrints
from lab.prints.decode import WineDecoder
from lab.prints.from_now import FromNow
from lab.prints.record import GapRecord, PrintRecord
from lab.prints.stream import clean
from lab.prints.timer import GuestTimer
from tests.prints.conftest import ListSource, frames


def _line(text: str) -> bytes:
    return f"1.000:013c:017c:warn:debugstr:vDbgPrintExWithPrefix 00000065:00000003: {text}".encode()


def test_positions_count_from_the_marker() -> None:
    inner = ListSource()
    inner.say("long ago")
    source = FromNow(inner, "join")
    source.start()
    assert source.records_since(0) == []
    inner.say("now")
    [record] = source.records_since(0)
    assert isinstance(record, PrintRecord)
    assert clean(record.text) == "now"
    assert source.mark("again", timeout=1.0) == 2


class Timer:
    def sleep(self, seconds: float, *, timeout: float) -> None:
        raise AssertionError((seconds, timeout))


class TimedSource(ListSource):
    """One whose guest has a timer, as that of a guest with a virtual clock."""

    @property
    def timer(self) -> GuestTimer:
        return _TIMER


_TIMER = Timer()


def test_the_time_of_a_guest_that_is_joined_can_be_waited_for() -> None:
    # `lab run --on` of a guest with a virtual clock: guest.sleep, expect_none(wait=…) and the polls of services need it.
    assert FromNow(TimedSource(), "join").timer is _TIMER
    assert ChangedPrints(TimedSource(), lambda record: record).timer is _TIMER
    assert FromNow(ListSource(), "join").timer is None


def test_a_guest_whose_marker_does_not_come_back_is_not_joined() -> None:
    inner = ListSource()
    inner.dead = True
    with pytest.raises(EvidenceLost):
        FromNow(inner, "join").start()


def test_a_decoder_that_joins_takes_whichever_line_comes_first() -> None:
    decoder = WineDecoder(first_line=None)
    records = decoder.feed(frames([_line("a"), _line("b")], first=17) + frames([_line("d")], first=20), 0.0)
    records += decoder.finish(0.0)
    assert [type(record) for record in records] == [PrintRecord, PrintRecord, GapRecord, PrintRecord]
