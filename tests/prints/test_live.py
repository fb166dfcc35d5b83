"""A guest's prints read beside their owner: whole lines, a fork's beginning, and lines as they come."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from lab.prints.live import PrintFile, all_lines, print_lines, show
from lab.prints.record import EventRecord, FaultRecord, MarkRecord, PrintRecord


def _line(at: str, text: str, level: int = 3) -> bytes:
    return f"{at}:013c:017c:warn:debugstr:vDbgPrintExWithPrefix 00000065:{level:08x}: {text}".encode()


def _file(tmp_path: Path, data: bytes) -> PrintFile:
    path = tmp_path / "serial1.log"
    path.write_bytes(data)
    return PrintFile(guest="wine", kind="wine", path=path, encoding="utf-8")


def test_a_line_has_time_level_thread_and_text(tmp_path: Path, framed: Callable[..., bytes]) -> None:
    data = framed([_line("12.500", "loaded", 0), _line("12.750", "读字节长度: 20"), b"second line", _line("13.000", "x", 0x10)])
    assert all_lines(_file(tmp_path, data)) == [
        "      12.500  ERROR  013c:017c  loaded",
        "      12.750  INFO   013c:017c  读字节长度: 20\n                                  second line",
        "      13.000  0x10   013c:017c  x",
    ]


def test_a_fork_begins_in_the_middle_without_a_gap(tmp_path: Path, framed: Callable[..., bytes]) -> None:
    data = framed([_line("1.000", "a"), _line("2.000", "b")], first=40) + framed([_line("3.000", "d")], first=43)
    lines = all_lines(_file(tmp_path, data))
    assert [line.split()[-1] for line in (lines[0], lines[1], lines[3])] == ["a", "b", "d"]
    assert lines[2] == "*** prints missing: 1 line(s) before line 43 did not arrive"


def test_the_debuggers_records_are_shown_with_host_time(tmp_path: Path) -> None:
    path = tmp_path / "kd.jsonl"
    lines = [
        {
            "kind": "print",
            "time": 0.25,
            "generation": 0,
            "cpu": 1,
            "raw": b"hello\n".hex(),
            "text": "hello\n",
            "maybe_truncated": False,
        },
        {"kind": "end", "time": 1.0, "generation": 0, "reason": "the machine ended", "complete": True},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    [line] = all_lines(PrintFile(guest="w", kind="kd", path=path, encoding="utf-8"))
    assert line.endswith("00.250         CPU 1      hello")


def test_later_prints_are_shown_and_tail_leaves_out_old_ones(tmp_path: Path, framed: Callable[..., bytes]) -> None:
    file = _file(tmp_path, framed([_line("1.000", "one"), _line("2.000", "two")]))
    out: list[str] = []
    looks = iter([True, False])

    def more() -> bool:
        with file.path.open("ab") as stream:
            stream.write(framed([_line("3.000", "three")], first=2) if (again := next(looks)) else b"")
        return again

    print_lines(file, out.append, goes_on=more, tail=1)
    assert [line.split()[-1] for line in out] == ["two", "three"]


def test_faults_stand_out_and_markers_are_not_shown() -> None:
    fault = FaultRecord(sequence=0, host_time=0.0, guest_time=None, code=1, parameters=(), text="Unhandled exception")
    assert show(fault) == "*** driver fault: Unhandled exception"
    assert show(MarkRecord(sequence=1, host_time=0.0, guest_time=None, token="t")) == ""
    assert show(EventRecord(sequence=2, host_time=0.0, kind="load", text="a.sys at 0x1000")) == "[load] a.sys at 0x1000"
    kernel = PrintRecord(sequence=3, host_time=0.0, guest_time=1.0, source="relay", raw=b"k", text="k", by_kernel=True)
    assert show(kernel).endswith("[kernel] k")
