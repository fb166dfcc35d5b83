"""What the host of a target does besides answers: it wakes a silent target, and records what it received."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lab.cli.kd import _break_in_when
from lab.prints.kd.packet import BREAK_IN, RESET, control_packet
from lab.prints.kd.record import Note, Print, from_json
from lab.prints.kd.session import Session
from lab.prints.kd.silence import BreakIn, SilenceWatch
from lab.prints.kd.text import record_line


class Asked:
    """A double of a collector: makes a session do what is requested."""

    def __init__(self) -> None:
        self.session = Session()
        self.now = 0.0

    def ask(self, request: Callable[[Session, float], None]) -> None:
        request(self.session, self.now)


def sent(when: BreakIn, until: float, complain: Callable[[str], None]) -> tuple[list[tuple[float, bytes]], list[str]]:
    asked, silence, found = Asked(), SilenceWatch(when, complain), []
    while asked.now < until:
        asked.now += 0.5
        silence.check(asked, asked.now)  # type: ignore[arg-type]
        if data := asked.session.take_output():
            found.append((asked.now, data))
    return found, [record.text for record in asked.session.take_records() if isinstance(record, Note)]


def test_a_silent_target_is_woken_after_a_while_and_the_records_say_so() -> None:
    said: list[str] = []
    found, notes = sent(BreakIn.WHEN_SILENT, 50.0, said.append)
    assert found == [(15.0, BREAK_IN), (30.0, control_packet(RESET)), (45.0, BREAK_IN)]
    assert len(notes) == 3
    assert "nothing heard for 15 s: sent a break-in" in notes[0]
    assert said == ["nothing heard for 10 s; a kernel that is already running gets a break-in after 15 s"]


def test_a_target_is_woken_at_once_or_never_when_that_is_asked_for() -> None:
    said: list[str] = []
    assert sent(BreakIn.NEVER, 100.0, said.append) == ([], [])
    assert said == ["nothing heard for 10 s; for a kernel that is already running, use --break-in"]
    found, _ = sent(BreakIn.AT_ONCE, 200.0, said.append)
    assert [at for at, _ in found[:4]] == [1.0, 3.0, 5.0, 7.0]
    # A VM that was paused must not receive hundreds of them.
    assert len(found) < 20


@pytest.mark.parametrize(
    ("break_in", "by_default", "when"),
    [
        (None, True, BreakIn.WHEN_SILENT),
        (None, False, BreakIn.NEVER),
        (True, False, BreakIn.AT_ONCE),
        (False, True, BreakIn.NEVER),
    ],
)
def test_options_decide_before_the_default(break_in: bool | None, by_default: bool, when: BreakIn) -> None:
    assert _break_in_when(break_in, by_default) is when


@pytest.mark.parametrize("jsonl", [False, True])
def test_a_record_that_cannot_be_written_down_is_a_note_with_its_bytes(jsonl: bool) -> None:
    line = record_line(Print(cpu=0, raw=b"\xffhello", time=1.0), jsonl=jsonl, encoding="rot13")
    assert b"\xffhello".hex() in line
    assert "LookupError" in line
    if jsonl:
        assert isinstance(from_json(line), Note)
