"""The print relay's source: a file that grows, and a guest that prints marks on request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.errors import EvidenceLost, GuestHung, TransportError
from lab.prints.record import GapRecord, PrintRecord, Record
from lab.prints.relay.decoder import RelayDecoder, RelayPosition
from lab.prints.relay.frame import HELLO, MARK, PRINT, Frame, encode
from lab.prints.relay.source import RelayPrintSource
from lab.prints.relay.start import state_of
from lab.prints.window import PrintLedger


class Guest:
    """A guest with a print relay; a test says what it prints."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.number = 0
        self.error: Exception | None = None
        self.silent = False
        self.closed = 0
        self._lock = threading.Lock()

    def say(self, text: bytes, kind: int = PRINT) -> None:
        with self._lock, self.file.open("ab") as stream:
            stream.write(encode(Frame(kind=kind, session=1, sequence=self.number, text=text)))
            self.number += 1

    def mark(self, token: str, timeout: float) -> None:
        if self.error:
            raise self.error
        if not self.silent:
            self.say(token.encode(), MARK)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path / "debugcon.log")


@pytest.fixture
def relay(guest: Guest) -> Iterator[RelayPrintSource]:
    source = RelayPrintSource(guest.file, guest.mark, on_close=guest.close)
    source.start()
    yield source
    source.close()


def some(count: int) -> Callable[[list[Record]], bool]:
    return lambda records: len(records) >= count


def prints(records: list[Record]) -> list[str]:
    return [record.text for record in records if isinstance(record, PrintRecord)]


def test_a_file_that_does_not_exist_yet_is_read_from_its_first_byte(guest: Guest, relay: RelayPrintSource) -> None:
    assert relay.name == "relay"
    assert relay.records_since(0) == []
    guest.say(b"", HELLO)
    guest.say(b"hello")
    assert prints(relay.wait(0, some(2), timeout=30)) == ["hello"]
    assert relay.position == RelayPosition(1, 2)


def test_a_marker_comes_after_earlier_prints(guest: Guest, relay: RelayPrintSource) -> None:
    guest.say(b"", HELLO)
    guest.say(b"before")
    position = relay.mark("t-1", timeout=30)
    guest.say(b"after")
    relay.wait(position, some(1), timeout=30)
    assert prints(relay.records_since(0)[:position]) == ["before"]
    assert prints(relay.records_since(position)) == ["after"]


def test_a_marker_that_does_not_arrive_is_lost_evidence(guest: Guest, relay: RelayPrintSource) -> None:
    guest.silent = True
    with pytest.raises(EvidenceLost, match=r"did not arrive in .*debugcon\.log"):
        relay.mark("t-1", timeout=0.05)


@pytest.mark.parametrize("error", [TransportError("no answer", hint="look"), GuestHung("it hangs")])
def test_a_guest_that_cannot_be_reached_is_lost_evidence(guest: Guest, relay: RelayPrintSource, error: Exception) -> None:
    guest.error = error
    with pytest.raises(EvidenceLost, match=f"not reached for marker t-1: {str(error)[:8]}"):
        relay.mark("t-1", timeout=30)


def test_a_relay_that_refuses_is_quoted_as_it_is(guest: Guest, relay: RelayPrintSource) -> None:
    guest.error = EvidenceLost("prints of this kernel cannot be relayed")
    with pytest.raises(EvidenceLost, match=r"^prints of this kernel cannot be relayed$"):
        relay.mark("t-1", timeout=30)


def test_close_reads_the_rest_and_may_be_called_twice(guest: Guest, relay: RelayPrintSource) -> None:
    guest.say(b"", HELLO)
    for number in range(1000):
        guest.say(b"%d" % number)
    relay.close()
    relay.close()
    assert prints(relay.records_since(0)) == [str(number) for number in range(1000)]
    assert guest.closed == 1


def test_a_log_that_ends_in_the_middle_of_a_record_is_a_gap(guest: Guest, relay: RelayPrintSource) -> None:
    guest.say(b"", HELLO)
    with guest.file.open("ab") as stream:
        stream.write(encode(Frame(kind=PRINT, session=1, sequence=1, text=b"not all of it"))[:-1])
    relay.wait(0, some(1), timeout=30)
    relay.close()
    *_, gap = relay.records_since(0)
    assert isinstance(gap, GapRecord)
    assert gap.missing == 1


def test_a_fork_begins_at_the_position_of_its_template(guest: Guest) -> None:
    guest.number = 7
    source = RelayPrintSource(guest.file, guest.mark, resume=state_of(RelayPosition(1, 7), b""))
    source.start()
    source.mark("t-1", timeout=30)
    source.close()
    assert [type(record).__name__ for record in source.records_since(0)] == ["MarkRecord"]


def test_prints_that_are_missing_in_a_tests_window_count_for_that_test(guest: Guest, relay: RelayPrintSource) -> None:
    ledger = PrintLedger(relay, "g-1")
    guest.say(b"", HELLO)
    guest.say(b"at boot")
    ledger.end_boot()
    ledger.open("sound").expect([])
    assert ledger.close().gaps == []
    stream = ledger.open("lossy")
    guest.say(b"first")
    guest.number += 3
    guest.say(b"fifth")
    with pytest.raises(EvidenceLost, match=r"3 record\(s\) before record \d+ did not arrive"):
        stream.expect(["first", "fifth"])
    window = ledger.close()
    assert [record.text for record in window.prints] == ["first", "fifth"]
    assert [gap.missing for gap in window.records if isinstance(gap, GapRecord)] == [3]
    ledger.open("sound again").expect_none()
    assert ledger.close().gaps == []


def test_a_file_that_cannot_be_read_is_a_gap_and_fails_markers(tmp_path: Path, guest: Guest) -> None:
    source = RelayPrintSource(tmp_path, guest.mark)
    source.start()
    [gap] = source.wait(0, some(1), timeout=30)
    with pytest.raises(EvidenceLost, match="cannot be read"):
        source.mark("t-1", timeout=600)
    source.close()
    assert isinstance(gap, GapRecord)


def test_a_bug_while_prints_are_decoded_is_a_gap_and_fails_every_marker(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: RelayDecoder, data: bytes, host_time: float) -> list[Record]:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(RelayDecoder, "feed", broken)
    source = RelayPrintSource(guest.file, guest.mark)
    guest.say(b"hello")
    source.start()
    [gap] = source.wait(0, some(1), timeout=30)
    with pytest.raises(EvidenceLost, match=r"marker t-1 did not arrive: .*ZeroDivisionError: division by zero"):
        source.mark("t-1", timeout=600)
    source.close()
    assert isinstance(gap, GapRecord)
