"""The counters are taken out of a guest by drvprobe, in as many parts as are needed."""

from __future__ import annotations

import json
import struct

import pytest

from lab.coverage.gcda import Counters
from lab.coverage.reading import LINK, take_counters
from lab.coverage.records import State
from lab.errors import CommandFailed, TransportError
from lab.guest.protocol import CommandResult
from tests.guest.fakes import FakeTransport, Sent, result

_CHUNK = 0x10000
_PROBE = "C:\\lab\\run\\drvprobe.exe"


def _line(seq: int, op: str, **keys: object) -> str:
    usual = {"seq": seq, "op": op, "thread": "main", "handle": "h", "tag": None, "error": 0, "status": 0}
    return json.dumps({**usual, "start_us": 1, "end_us": 2, "asked": 0, "returned": 0, **keys}) + "\n"


def _answer(data: bytes, *, opened: int = 0, error: int = 0) -> CommandResult:
    sent = _line(
        2,
        "ioctl",
        kind="ioctl",
        code=0,
        error=error,
        returned=len(data),
        input="",
        input_intact=True,
        data=data.hex(),
        text="",
        tail_intact=True,
    )
    return result(_line(1, "open", error=opened) + ("" if opened else sent + _line(3, "close")))


def _records(functions: int) -> bytes:
    counters = Counters(1, 2, 3, {(number, 4, 5): (number + 1,) * 5 for number in range(functions)})
    content = counters.bytes()
    name = b"./lab#0.c.gcda"
    payload = struct.pack("<I", len(name)) + name + struct.pack("<I", len(content)) + content
    record = struct.pack("<III64s", len(payload), 7, 0, b"async") + payload + bytes(-len(payload) % 4)
    return struct.pack("<4sIII", b"LCOV", 1, 16 + len(record), 1) + record


class _Collector:
    """Answers as driver/coverage/collector.c."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.scripts: list[str] = []

    def __call__(self, sent: Sent) -> CommandResult:
        script = sent.command[1]
        self.scripts.append(script)
        offset = int.from_bytes(bytes.fromhex(script.partition("hex=")[2][:8]), "little") if "hex=" in script else 0
        return _answer(self._data[offset : offset + _CHUNK])


def test_few_counters_come_with_one_script() -> None:
    collector = _Collector(_records(3))

    (record,) = take_counters(FakeTransport(collector), _PROBE)

    assert (record.driver, record.number, record.state) == ("async", 7, State.LIVE)
    assert record.counters["0.gcno"].counts[(2, 4, 5)] == (3,) * 5
    assert len(collector.scripts) == 1
    assert LINK in collector.scripts[0]


def test_many_counters_come_in_parts() -> None:
    collector = _Collector(_records(3000))

    (record,) = take_counters(FakeTransport(collector), _PROBE)

    assert len(record.counters["0.gcno"].counts) == 3000
    assert len(collector.scripts) == 4


@pytest.mark.parametrize("answer", [_answer(b"", opened=2), _answer(b"", error=1450)])
def test_a_collector_that_is_not_there_or_refuses_is_an_error(answer: CommandResult) -> None:
    with pytest.raises(CommandFailed, match="LabCoverage"):
        take_counters(FakeTransport([answer]), _PROBE)


def test_what_is_no_record_is_refused() -> None:
    with pytest.raises(TransportError, match="wrong format"):
        take_counters(FakeTransport([_answer(b"hello, kernel")]), _PROBE)
