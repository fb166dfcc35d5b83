"""A print relay's stream that continues in forks: each record comes once, wherever the guest was stopped; holes are counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import ConfigError
from lab.prints.record import GapRecord, MarkRecord, PrintRecord, Record
from lab.prints.relay.decoder import RelayDecoder, RelayPosition
from lab.prints.relay.frame import BYE, HELLO, MAGIC, MARK, PRINT, STRAY_MAX, Frame, encode
from lab.prints.relay.source import RelayPrintSource
from lab.prints.relay.start import RelayStart, position_in, read_start, start_file, start_of, state_of, write_start
from lab.prints.resume import PrintsState
from tests.prints.kd.live import wait_for

DEADLINE_S = 30.0


class Writer:
    """A print relay whose bytes a test cuts as it likes."""

    def __init__(self, session: int = 1) -> None:
        self.session = session
        self.number = 0

    def say(self, text: bytes, kind: int = PRINT) -> bytes:
        self.number = (self.number + 1) % (1 << 32)
        return encode(Frame(kind=kind, session=self.session, sequence=(self.number - 1) % (1 << 32), text=text))


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """What a debug console may hold: records, lost ones, damaged ones, foreign bytes, further loads of the driver."""
    writer = Writer(draw(st.integers(1, 3)))
    writer.number = draw(st.sampled_from([0, 0, 0, 5, 0xFFFFFFFE]))
    stream = b""
    for what in draw(
        st.lists(st.sampled_from(["record", "record", "lost", "damaged", "foreign", "again", "bye"]), max_size=12)
    ):
        text = draw(st.one_of(st.binary(max_size=30), st.just(MAGIC + b"\x01\x01"), st.just(b"a print\n")))
        if what == "record":
            stream += writer.say(text, draw(st.sampled_from([PRINT, MARK, HELLO, 9])))
        elif what == "lost":
            writer.number = (writer.number + draw(st.integers(1, 3))) % (1 << 32)
        elif what == "damaged":
            record = writer.say(text)
            stream += record[: draw(st.integers(0, len(record) - 1))]
        elif what == "foreign":
            stream += text
        elif what == "bye":
            stream += writer.say(b"", BYE)
        else:
            writer = Writer(draw(st.integers(1, 3)))
    return stream


def contents(records: list[Record]) -> list[Record]:
    """The records without their numbers, which count anew in each fork."""
    return [replace(record, sequence=0) for record in records]


def forked(state: PrintsState, rest: bytes) -> list[Record]:
    decoder = RelayDecoder("ascii", position_in(state))
    return decoder.feed(state.replay) + decoder.feed(rest) + decoder.finish()


@given(stream=streams(), data=st.data())
def test_a_stream_that_goes_on_in_a_fork_gives_the_records_of_one_guest(stream: bytes, data: st.DataObject) -> None:
    whole = RelayDecoder("ascii")
    expected = whole.feed(stream) + whole.finish()
    # The second snapshot is one of a fork: a template that is made from the base.
    first, second = sorted(data.draw(st.integers(0, len(stream))) for _ in range(2))
    base = RelayDecoder("ascii")
    before = base.feed(stream[:first])
    assert base.tail is not None
    state = state_of(base.position, base.tail)
    made = RelayDecoder("ascii", position_in(state))
    between = made.feed(state.replay + stream[first:second])
    assert made.tail is not None
    assert contents(before + forked(state, stream[first:])) == contents(expected)
    own = state_of(made.position, made.tail)
    assert contents(before + between + forked(own, stream[second:])) == contents(expected)
    # A template whose forks begin with the prints of its load.
    loaded = replace(state, replay=state.replay + stream[first:second])
    assert contents(before + forked(loaded, stream[second:])) == contents(expected)
    start = start_of(loaded)
    assert (start.position, start.tail) == (made.position, made.tail)


@given(stream=streams(), lost=st.integers(1, 1000))
def test_records_that_a_fork_lost_are_one_gap_of_their_number(stream: bytes, lost: int) -> None:
    writer = Writer(session=7)
    decoder = RelayDecoder("ascii")
    decoder.feed(stream + writer.say(b"the last one"))
    assert decoder.tail == b""
    writer.number += lost
    gap, after = forked(state_of(decoder.position, b""), writer.say(b"the first one of the fork"))
    assert isinstance(gap, GapRecord)
    assert gap.missing == lost
    assert isinstance(after, PrintRecord)


def test_a_record_that_a_fork_does_not_finish_is_a_gap_of_one() -> None:
    writer = Writer()
    decoder = RelayDecoder("ascii")
    decoder.feed(writer.say(b"one") + writer.say(b"cut off")[:-3])
    assert decoder.tail is not None
    gap, after = forked(state_of(decoder.position, decoder.tail), writer.say(b"three"))
    assert isinstance(gap, GapRecord)
    assert (gap.missing, "48 byte(s) that are not a complete record" in gap.reason) == (1, True)
    assert isinstance(after, PrintRecord)


@pytest.mark.parametrize(
    ("session", "number", "missing", "words"),
    [
        (1, 1, 0, "record 1 came instead of record 2"),
        (2, 0, 0, "the guest started again"),
        (2, 3, 3, "so are the first 3 of the print relay itself"),
    ],
)
def test_a_fork_that_does_not_continue_its_template_says_so(session: int, number: int, missing: int, words: str) -> None:
    state = state_of(RelayPosition(1, 2), b"")
    gap, _ = forked(state, encode(Frame(kind=PRINT, session=session, sequence=number, text=b"x")))
    assert isinstance(gap, GapRecord)
    assert gap.missing == missing
    assert words in gap.reason


def test_a_fork_of_a_relay_that_was_unloaded_does_not_accuse_the_guest_of_a_restart() -> None:
    writer = Writer()
    decoder = RelayDecoder("ascii")
    decoder.feed(writer.say(b"", BYE))
    gap, _ = forked(state_of(decoder.position, b""), Writer(session=2).say(b"", HELLO))
    assert isinstance(gap, GapRecord)
    assert gap.reason == "the print relay was loaded again; prints in between are missing"


class Guest:
    """A guest whose bytes a test writes: of a template, or of one of its forks.

    Args:
        log: The log of its debug console.
        resume: What its template kept.
        writer: Its print relay; a fork's is a copy of its template's.
    """

    def __init__(self, log: Path, resume: PrintsState | None = None, writer: Writer | None = None) -> None:
        self.log = log
        self.writer = writer or Writer()
        self.source = RelayPrintSource(log, self._mark, encoding="ascii", resume=resume)
        self.source.start()

    def write(self, data: bytes) -> None:
        with self.log.open("ab") as stream:
            stream.write(data)

    def _mark(self, token: str, timeout: float) -> None:
        self.write(self.writer.say(token.encode(), MARK))

    def stopped(self, *, replay: bool = False) -> PrintsState:
        """The state of the source, once it has read everything."""
        found: list[PrintsState] = []

        def is_there() -> bool:
            state = self.source.snapshot_state(replay=replay)
            found.extend([state] if state else [])
            return bool(found)

        wait_for(is_there, "a source that has read everything")
        return found[0]

    def fork(self, log: Path, state: PrintsState) -> Guest:
        writer = Writer(self.writer.session)
        writer.number = self.writer.number
        return Guest(log, state, writer)

    def end(self) -> list[str]:
        """The prints and gaps of this guest."""
        self.source.close()
        return [
            record.text if isinstance(record, PrintRecord) else record.reason
            for record in self.source.records_since(0)
            if isinstance(record, PrintRecord | GapRecord)
        ]


def test_each_fork_of_a_guest_that_was_stopped_in_a_record_has_it_once(tmp_path: Path) -> None:
    guest = Guest(tmp_path / "template.log")
    record = b""
    guest.write(guest.writer.say(b"", HELLO))
    guest.source.mark("t-1", timeout=DEADLINE_S)
    record = guest.writer.say(b"half of it")
    guest.write(record[:20])
    state = guest.stopped()
    assert (state.numbers, state.replay) == ({"session": 1, "sequence": 2, "unloaded": 0}, record[:20])
    for number in range(3):
        fork = guest.fork(tmp_path / f"fork{number}.log", state)
        fork.write(record[20:])
        fork.write(fork.writer.say(b"of fork %d" % number))
        fork.source.mark("t-1", timeout=DEADLINE_S)
        assert fork.end() == ["half of it", f"of fork {number}"]
    assert guest.end() == ["the log ends in 20 byte(s) that are not a complete record, beginning with " + repr(record[:20])]


def test_a_template_with_a_loaded_driver_gives_its_forks_the_prints_of_the_load(tmp_path: Path) -> None:
    base = Guest(tmp_path / "base.log")
    base.write(base.writer.say(b"", HELLO) + base.writer.say(b"of the boot"))
    half = base.writer.say(b"of the kernel")
    base.write(half[:-1])
    made = base.fork(tmp_path / "made.log", base.stopped())
    made.write(half[-1:] + made.writer.say(b"of the load"))
    cut = made.writer.say(b"of its timer")
    made.write(cut[:3])
    loaded, plain = made.stopped(replay=True), made.stopped()
    rest = cut[3:]

    fork = made.fork(tmp_path / "loaded.log", loaded)
    fork.write(rest + fork.writer.say(b"of the fork"))
    fork.source.mark("t-1", timeout=DEADLINE_S)
    assert fork.end() == ["of the kernel", "of the load", "of its timer", "of the fork"]

    fork = made.fork(tmp_path / "plain.log", plain)
    fork.write(rest)
    fork.source.mark("t-1", timeout=DEADLINE_S)
    assert fork.end() == ["of its timer"]
    assert base.end()[:1] == ["of the boot"]
    made.end()


def test_a_stopped_guest_has_no_state_before_everything_was_read(tmp_path: Path) -> None:
    guest = Guest(tmp_path / "debugcon.log")
    guest.write(guest.writer.say(b"", HELLO))
    guest.stopped()
    guest.source.close()  # reads nothing more
    guest.write(guest.writer.say(b"unread"))
    assert guest.source.snapshot_state() is None
    assert guest.source.snapshot_state(replay=True) is None


def test_a_flood_of_foreign_bytes_is_not_carried_into_forks(tmp_path: Path) -> None:
    guest = Guest(tmp_path / "debugcon.log")
    guest.write(guest.writer.say(b"", HELLO) + b"x" * (2 * STRAY_MAX))
    assert len(guest.stopped().replay) == 2 * STRAY_MAX
    guest.write(b"x" * STRAY_MAX)
    assert len(guest.stopped(replay=True).replay) > 3 * STRAY_MAX  # everything was read
    assert guest.source.snapshot_state() is None
    guest.source.mark("t-1", timeout=DEADLINE_S)
    assert guest.stopped().replay == b""
    guest.source.close()


def test_a_source_only_lets_a_fork_run_and_hangs_up_its_marker(tmp_path: Path) -> None:
    called: list[str] = []

    def note(what: str) -> Callable[[], None]:
        return lambda: called.append(what)

    source = RelayPrintSource(tmp_path / "debugcon.log", lambda _token, _timeout: None, hang_up=note("hung up"))
    source.hang_up()
    source.resume(0.0, b"", let_run=note("runs"), timeout=1.0)
    assert called == ["hung up", "runs"]


@pytest.mark.parametrize(
    "start",
    [RelayStart(position=RelayPosition(7, 812), tail=b"\xfeTAP"), RelayStart(position=RelayPosition(7, 0, unloaded=True))],
)
def test_the_start_of_a_log_is_a_file_beside_it(tmp_path: Path, start: RelayStart) -> None:
    log = tmp_path / "debugcon.log"
    write_start(log, start)
    assert [file.name for file in tmp_path.iterdir()] == ["debugcon.start.json"]
    assert read_start(log) == start


def test_the_log_of_a_booted_guest_has_no_such_file(tmp_path: Path) -> None:
    log = tmp_path / "debugcon.log"
    write_start(log, RelayStart())
    assert list(tmp_path.iterdir()) == []
    assert read_start(log) == RelayStart()


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"session": "x", "sequence": 1}', b'{"session": 1, "sequence": 1, "tail": "x"}']
)
def test_a_damaged_start_is_named(tmp_path: Path, content: bytes) -> None:
    log = tmp_path / "debugcon.log"
    start_file(log).write_bytes(content)
    with pytest.raises(ConfigError, match=r"debugcon\.start\.json, which says where debugcon\.log begins, cannot be read"):
        read_start(log)


def test_markers_of_a_fork_are_found_by_their_own_stream(tmp_path: Path) -> None:
    """The same token may be in a template and in its forks: each guest has a log of its own."""
    guest = Guest(tmp_path / "template.log")
    guest.source.mark("snapshot-0", timeout=DEADLINE_S)
    fork = guest.fork(tmp_path / "fork.log", guest.stopped())
    position = fork.source.mark("snapshot-0", timeout=DEADLINE_S)
    [mark] = fork.source.records_since(0)[:position]
    assert isinstance(mark, MarkRecord)
    for each in (guest, fork):
        assert each.end() == []
