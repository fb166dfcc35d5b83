"""When a debugged guest may become a template, what the template keeps, and how a fork's source goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import SnapshotFailed
from lab.prints.kd.control import Status
from lab.prints.kd.ids import SessionIds
from lab.prints.kd.packet import INITIAL_ID
from lab.prints.kd.record import AnyRecord, Print, to_json
from lab.prints.kd.resumable import KdResumable, ids_of, state_of
from lab.prints.kd.source import KdPrintSource
from lab.prints.record import MarkRecord, PrintRecord
from lab.prints.resume import PrintsState

DEADLINE_S = 20.0
IDS = SessionIds(INITIAL_ID | 1, INITIAL_ID, "ab" * 32)
READY = Status(heard=True, idle=True, held=False, generation=0, ids=IDS, records=2)
LINES = b"".join(to_json(Print(time=1.0, cpu=0, raw=text)).encode() + b"\n" for text in (b"one\n", b"two\n"))


class Guest:
    """A source whose collector is a file and a status."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "kd.jsonl"
        self.status = READY
        self.hung_up = 0

    def source(self, replay: bytes = b"") -> KdPrintSource:
        return KdPrintSource(
            self.file,
            lambda _text, _timeout: None,
            alive=lambda: True,
            break_in=lambda _timeout: False,
            status=lambda: self.status,
            hang_up=self._hang_up,
            replay=replay,
        )

    def _hang_up(self) -> None:
        self.hung_up += 1

    def write(self, *records: AnyRecord) -> None:
        with self.file.open("ab") as file:
            file.write("".join(to_json(record) + "\n" for record in records).encode())


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    made = Guest(tmp_path)
    made.file.write_bytes(LINES)
    return made


@pytest.fixture
def read(guest: Guest) -> Iterator[KdResumable]:
    """The resumable part of a source that has read both records."""
    source = guest.source()
    source.start()
    source.wait(0, lambda records: len(records) == 2, timeout=DEADLINE_S)
    assert source.resumable is not None
    yield source.resumable
    source.close()


def eventually(read: KdResumable, **arguments: bool) -> PrintsState:
    """The state, once the last record that woke the test has been counted."""
    for _ in range(100_000):
        if (state := read.snapshot_state(**arguments)) is not None:
            return state
    raise AssertionError("there is no state")


def test_an_idle_guest_gives_the_ids_of_both_sides(guest: Guest, read: KdResumable) -> None:
    state = eventually(read)
    assert (state, state.replay) == (state_of(IDS), b"")
    assert eventually(read, replay=True).replay == LINES
    read.hang_up()
    assert guest.hung_up == 1


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(replace(READY, idle=False), id="a packet or an answer is on its way"),
        pytest.param(replace(READY, records=3), id="a record is on its way into the file"),
    ],
)
def test_there_is_no_state_while_anything_is_on_its_way(guest: Guest, read: KdResumable, status: Status) -> None:
    eventually(read)
    guest.status = status
    assert read.snapshot_state() is None
    guest.write(Print(time=2.0, cpu=0, raw=b"three\n"))
    guest.status = replace(READY, records=3)
    assert eventually(read).numbers["receive"] == INITIAL_ID | 1


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (replace(READY, held=True), "the guest's kernel is stopped at an exception"),
        (replace(READY, borrowed=True), "another debugger has the guest's kernel"),
    ],
)
def test_a_kernel_that_does_not_run_by_itself_is_no_template(
    guest: Guest, read: KdResumable, status: Status, message: str
) -> None:
    guest.status = status
    with pytest.raises(SnapshotFailed, match=message):
        read.snapshot_state()


def test_a_source_without_a_collector_cannot_continue_in_a_fork(tmp_path: Path) -> None:
    source = KdPrintSource(tmp_path / "kd.jsonl", lambda *_: None, alive=lambda: True, break_in=lambda _timeout: False)
    assert source.resumable is None


def test_a_fork_begins_with_the_prints_of_the_load_and_goes_on_with_its_own(guest: Guest, tmp_path: Path) -> None:
    replay = guest.file.read_bytes() + to_json(Print(time=1.0, cpu=0, raw=b"lab:mark:snapshot-0\n")).encode() + b"\n"
    guest.file.write_bytes(b"")
    source = guest.source(replay)
    source.start()
    guest.write(Print(time=3.0, cpu=0, raw=b"own\n"))
    records = source.wait(0, lambda new: len(new) == 4, timeout=DEADLINE_S)
    assert [record.sequence for record in records] == [0, 1, 2, 3]
    assert [record.text for record in records if isinstance(record, PrintRecord)] == ["one\n", "two\n", "own\n"]
    assert [record.token for record in records if isinstance(record, MarkRecord)] == ["snapshot-0"]
    # A template of this fork would replay all of it.
    assert source.resumable is not None
    guest.status = replace(READY, records=1)
    assert eventually(source.resumable, replay=True).replay == replay + guest.file.read_bytes()
    source.close()


def test_a_fork_runs_when_it_is_resumed(read: KdResumable) -> None:
    runs: list[bool] = []
    read.resume(1.0, b"\0" * 32, let_run=lambda: runs.append(True), timeout=1.0)
    assert runs == [True]


_ID = st.sampled_from([None, INITIAL_ID, INITIAL_ID | 1])


@given(receive=_ID, send=_ID, last=st.sampled_from(["", "00" * 32, "fe" * 32]))
def test_every_state_gives_its_ids_back(receive: int | None, send: int | None, last: str) -> None:
    ids = SessionIds(receive, send, last)
    assert ids_of(state_of(ids, replay=b"x")) == ids
    assert SessionIds.from_json(ids_of(state_of(ids)).to_json()) == ids
