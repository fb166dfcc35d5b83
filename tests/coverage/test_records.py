"""The records of the collecting driver: their format, and what is new since the last read."""

from __future__ import annotations

import struct

import pytest

from lab.coverage.gcda import Counters
from lab.coverage.records import LoadRecord, State, parse_records, size_of
from lab.coverage.window import GuestCounters
from lab.errors import TransportError
from tests.coverage.counting import load

_KEY = (1, 2, 3)


def _counters(*counts: int) -> Counters:
    return Counters(10, 11, 12, {_KEY: counts} if any(counts) else {})


def _object(name: bytes, counters: Counters) -> bytes:
    content = counters.bytes()
    return struct.pack("<I", len(name)) + name + struct.pack("<I", len(content)) + content


def _record(driver: bytes, number: int, state: int, payload: bytes) -> bytes:
    head = struct.pack("<III64s", len(payload), number, state, driver)
    return head + payload + bytes(-len(payload) % 4)


def _all(*records: bytes) -> bytes:
    body = b"".join(records)
    return struct.pack("<4sIII", b"LCOV", 1, 16 + len(body), len(records)) + body


def test_records_are_read_as_labcov_h_describes_them() -> None:
    data = _all(
        _record(b"async", 1, 0, _object(b"./lab#0.c.gcda", _counters(1)) + _object(b"./#home#me#lab#1.c.gcda", _counters(2))),
        _record(b"sync", 2, 1, _object(b"lab#0.c.gcda", _counters(0))),
        _record(b"sync", 3, 2, b""),
    )

    assert size_of(data) == len(data)
    assert parse_records(data) == (
        LoadRecord("async", 1, State.LIVE, {"0.gcno": _counters(1), "1.gcno": _counters(2)}),
        LoadRecord("sync", 2, State.UNLOADED, {"0.gcno": _counters(0)}),
        LoadRecord("sync", 3, State.LOST, {}),
    )


@pytest.mark.parametrize("cut", [0, 8, 20, 100, -1])
def test_records_that_are_cut_off_are_refused(cut: int) -> None:
    data = _all(_record(b"async", 1, 0, _object(b"lab#0.c.gcda", _counters(1))))

    with pytest.raises(TransportError, match="wrong format"):
        parse_records(data[:cut])


def test_only_what_is_new_since_the_last_read_counts() -> None:
    guest = GuestCounters()

    assert guest.since_last([load(1, _counters(3), State.LIVE)]) == ({"sum": {"0.gcno": _counters(3)}}, ())
    assert guest.since_last([load(1, _counters(5), State.LIVE)]) == ({"sum": {"0.gcno": _counters(2)}}, ())
    # The last counters of one load, and those of the next one.
    again = [load(1, _counters(6)), load(2, _counters(4), State.LIVE)]
    assert guest.since_last(again) == ({"sum": {"0.gcno": _counters(5)}}, ())
    assert guest.since_last([load(2, _counters(4), State.LIVE)])[0]["sum"]["0.gcno"].counts == {}


def test_lost_counters_have_the_drivers_name() -> None:
    lost = LoadRecord("sync", 1, State.LOST)

    assert GuestCounters().since_last([lost]) == ({}, ("sync",))
