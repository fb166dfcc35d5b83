"""The print source over the collector's records: what each record becomes, and how every end is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.errors import EvidenceLost, TransportError
from lab.prints.kd.record import (
    AnyRecord,
    BugcheckText,
    Console,
    End,
    ExceptionStop,
    Gap,
    Load,
    Note,
    Print,
    Prompt,
    Unload,
    to_json,
)
from lab.prints.kd.source import KdPrintSource
from lab.prints.record import EventRecord, FaultRecord, GapRecord, MarkRecord, NoteRecord, PrintRecord, Record

DEADLINE_S = 20.0
END = End(time=9.0, reason="the kernel closed the port", complete=True)
HELD = ExceptionStop(time=1.0, cpu=0, code=0x80000003, address=1, first_chance=True, action="hold")


class Following:
    """A source and the file that it follows."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "kd.jsonl"
        self.alive = True
        self.said: list[str] = []
        self.breaks: list[float] = []
        self.answer: Callable[[str], None] = lambda text: self.write(Print(time=2.0, cpu=0, raw=text.encode()))
        self.source = KdPrintSource(
            self.path,
            self._say,
            alive=lambda: self.alive,
            break_in=self._break_in,
            encoding="utf-8",
            wall=lambda: 5.0,
        )

    def _break_in(self, timeout: float) -> bool:
        self.breaks.append(timeout)
        return True

    def _say(self, text: str, _timeout: float) -> None:
        self.said.append(text)
        self.answer(text)

    def write(self, *records: AnyRecord, ending: str = "\n") -> None:
        with self.path.open("ab") as file:
            file.write("".join(to_json(record) + ending for record in records).encode())

    def wait(self, count: int) -> list[Record]:
        records = self.source.wait(0, lambda new: len(new) >= count, timeout=DEADLINE_S)
        assert len(records) == count
        return records


@pytest.fixture
def following(tmp_path: Path) -> Iterator[Following]:
    made = Following(tmp_path)
    made.source.start()
    yield made
    made.source.close()


def test_every_kind_of_record_has_its_place(following: Following) -> None:
    following.write(
        Console(time=1.0, raw=b"BIOS"),
        Load(time=1.0, path=r"\a.sys", base=0x1000, size=16),
        Print(time=1.5, cpu=2, raw="读 \n".encode()),
        Prompt(time=1.0, cpu=0, raw=b"(boipt)? ", answer="i"),
        Gap(time=1.0, reason="lost"),
        Note(time=1.0, text="of note"),
        BugcheckText(time=1.0, code=0xD1, parameters=(1, 2, 3, 4)),
        HELD,
        Unload(time=1.0, path="", base=2**64 - 1, size=0),
    )
    records = following.wait(9)
    assert [type(record) for record in records] == [
        NoteRecord,
        EventRecord,
        PrintRecord,
        EventRecord,
        GapRecord,
        NoteRecord,
        FaultRecord,
        EventRecord,
        EventRecord,
    ]
    assert [record.sequence for record in records] == list(range(9))
    print_ = records[2]
    assert isinstance(print_, PrintRecord)
    assert (print_.text, print_.cpu, print_.host_time, print_.guest_time, print_.when) == ("读 \n", 2, 1.5, None, 1.5)
    fault = records[6]
    assert isinstance(fault, FaultRecord)
    assert (fault.code, fault.parameters) == (0xD1, (1, 2, 3, 4))
    assert [record.text for record in records if isinstance(record, EventRecord)] == [
        r"\a.sys at 0x1000, 16 bytes",
        "(boipt)? (answered 'i')",
        "0x80000003 at 0x1 on CPU 0, first chance: hold",
        "(no name) at 0xffffffffffffffff, 0 bytes",
    ]


def test_a_marker_is_printed_in_the_guest_and_comes_back_in_order(following: Following) -> None:
    following.write(Print(time=1.0, cpu=0, raw=b"before\n"))
    following.wait(1)
    assert following.source.mark("t-0", timeout=DEADLINE_S) == 2
    assert following.said == ["lab:mark:t-0\n"]
    [mark] = following.source.records_since(1)
    assert isinstance(mark, MarkRecord)
    assert mark.token == "t-0"


def test_a_marker_that_does_not_come_is_named(following: Following) -> None:
    following.answer = lambda _text: None
    with pytest.raises(EvidenceLost, match=r"was asked to print marker t-0.*within 0 s") as caught:
        following.source.mark("t-0", timeout=0.05)
    assert "Debug Print Filter" in caught.value.hint


def test_a_guest_that_cannot_print_a_marker_is_named(following: Following) -> None:
    def refuse(_text: str) -> None:
        raise TransportError("no answer on port 5985")

    following.answer = refuse
    with pytest.raises(EvidenceLost, match="no answer on port 5985"):
        following.source.mark("t-0", timeout=0.05)


def test_a_stopped_kernel_is_not_asked_for_a_marker_until_it_continues(following: Following) -> None:
    following.write(HELD, Note(time=1.0, text="stands"))
    following.wait(2)
    with pytest.raises(EvidenceLost, match="debugger does not continue it"):
        following.source.mark("t-0", timeout=DEADLINE_S)
    assert following.said == []
    following.write(Print(time=1.0, cpu=0, raw=b"going on\n"))
    following.wait(3)
    following.source.mark("t-1", timeout=DEADLINE_S)


def test_a_guest_that_stops_during_a_marker_reports_why(following: Following) -> None:
    def stop(_text: str) -> None:
        following.write(HELD)
        raise TransportError("the connection was reset")

    following.answer = stop
    with pytest.raises(EvidenceLost, match="debugger does not continue it"):
        following.source.mark("t-0", timeout=DEADLINE_S)


def test_an_end_together_with_the_vm_loses_nothing(following: Following) -> None:
    following.write(Print(time=1.0, cpu=0, raw=b"last\n"), END)
    following.alive = False
    assert [type(record) for record in following.wait(2)] == [PrintRecord, NoteRecord]
    with pytest.raises(EvidenceLost, match="the kernel closed the port"):
        following.source.mark("t-0", timeout=DEADLINE_S)


@pytest.mark.parametrize("last", [None, End(time=1.0, reason="interrupted", complete=False)])
def test_every_other_end_of_the_collector_is_a_gap(following: Following, last: End | None) -> None:
    following.write(*([last] if last else []))
    following.alive = False
    [gap] = following.wait(1)
    assert isinstance(gap, GapRecord)
    assert gap.reason == ("interrupted" if last else "the collector of the debugger port ended without a message")


def test_a_record_that_is_cut_off_is_a_gap(following: Following) -> None:
    following.write(Print(time=1.0, cpu=0, raw=b"whole\n"))
    following.write(Print(time=1.0, cpu=0, raw=b"cut off\n"), ending="")
    following.wait(1)
    following.alive = False
    assert isinstance(following.wait(2)[1], GapRecord)


def test_an_invalid_record_line_is_a_gap(following: Following) -> None:
    with following.path.open("ab") as file:
        file.write(b"Traceback (most recent call last):\n")
    [gap] = following.wait(1)
    assert isinstance(gap, GapRecord)
    assert "cannot be read" in gap.reason


def test_closing_waits_for_what_the_collector_still_writes(tmp_path: Path) -> None:
    made = Following(tmp_path)
    let_go = lambda: made.write(Print(time=1.0, cpu=0, raw=b"late\n"), END)  # noqa: E731
    source = KdPrintSource(
        made.path, made._say, alive=lambda: True, break_in=lambda _timeout: False, let_go=let_go, wall=lambda: 5.0
    )
    source.start()
    source.close()
    source.close()
    assert [type(record) for record in source.records_since(0)] == [PrintRecord, NoteRecord]


def test_the_source_stops_a_guest_that_hangs(tmp_path: Path) -> None:
    made = Following(tmp_path)
    breaker = made.source.breaker
    assert breaker.break_in(2.5)
    assert made.breaks == [2.5]
