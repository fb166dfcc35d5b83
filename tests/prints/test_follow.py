"""Following a file with any content: replays, pieces, ends, and a decoder that fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.errors import EvidenceLost
from lab.prints.follow import FileFollower
from lab.prints.record import GapRecord, MarkRecord, PrintRecord, Record


def a_print(text: str, number: int) -> Record:
    raw = text.encode()
    return PrintRecord(sequence=number, host_time=0.0, guest_time=None, source="wine", raw=raw, text=text, thread=None)


@dataclass
class Words:
    """A decoder of words: each ends at a blank; one that begins with a # is a mark. The rest is complete after a silence."""

    rest_after: float = 1e9
    fed: list[bytes] = field(default_factory=list)
    silences: list[float] = field(default_factory=list)
    finished: int = 0
    count: int = 0
    left: bytes = b""
    broken: Exception | None = None

    def _record(self, word: bytes) -> Record:
        self.count += 1
        text = word.decode()
        if text.startswith("#"):
            return MarkRecord(sequence=self.count, host_time=0.0, guest_time=None, token=text[1:])
        return a_print(text, self.count)

    def feed(self, data: bytes, host_time: float) -> list[Record]:
        if self.broken:
            raise self.broken
        self.fed.append(data)
        *words, self.left = (self.left + data).split(b" ")
        return [self._record(word) for word in words]

    def rest(self, silent_s: float) -> list[Record]:
        self.silences.append(silent_s)
        return self._flush() if silent_s >= self.rest_after else []

    def finish(self, host_time: float) -> list[Record]:
        self.finished += 1
        return self._flush()

    def _flush(self) -> list[Record]:
        word, self.left = self.left, b""
        return [self._record(word)] if word else []


def texts(records: list[Record]) -> list[str]:
    return [record.text for record in records if isinstance(record, PrintRecord)]


def some(count: int) -> Callable[[list[Record]], bool]:
    return lambda records: len(records) >= count


def follow(path: Path, decoder: Words, replay: bytes = b"") -> FileFollower:
    follower = FileFollower(path, decoder, what="the file", replay=replay)
    follower.start()
    return follower


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_a_replay_comes_first_and_is_not_part_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "port.log"
    path.write_bytes(b"three ")
    follower = follow(path, Words(), replay=b"one two ")
    assert texts(follower.wait(0, some(3), timeout=30)) == ["one", "two", "three"]
    assert follower.close()
    assert follower.taken == len(b"three ")


def test_a_replay_that_cannot_be_decoded_is_a_gap_that_says_so(tmp_path: Path) -> None:
    follower = follow(tmp_path / "none", Words(broken=ValueError("no such frame")), replay=b"x ")
    [gap] = follower.wait(0, some(1), timeout=30)
    assert isinstance(gap, GapRecord)
    assert "the lab cannot continue reading" in gap.reason
    assert "ValueError: no such frame" in gap.reason
    assert follower.broken == gap.reason
    assert follower.close()


def test_a_record_in_pieces_is_one_record(tmp_path: Path) -> None:
    path = tmp_path / "port.log"
    decoder = Words()
    follower = follow(path, decoder)
    for piece in (b"on", b"e t"):
        append(path, piece)
        follower.wait(0, some(9), timeout=0.02)
    append(path, b"wo ")
    assert texts(follower.wait(0, some(2), timeout=30)) == ["one", "two"]
    assert follower.close()
    assert b"".join(decoder.fed) == b"one two "


def test_the_rest_at_the_end_is_decoded_once(tmp_path: Path) -> None:
    path = tmp_path / "port.log"
    path.write_bytes(b"whole half")
    decoder = Words()
    follower = follow(path, decoder)
    assert follower.close()
    assert not follower.close()
    assert texts(follower.records_since(0)) == ["whole", "half"]
    assert decoder.finished == 1


def test_everything_written_before_the_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "port.log"
    follower = follow(path, Words())
    append(path, b"words " * 400_000)  # more than is read at once
    follower.close()
    assert len(follower.records_since(0)) == 400_000
    assert follower.taken == 2_400_000


def test_a_pause_completes_the_rest_and_is_never_negative(tmp_path: Path) -> None:
    path = tmp_path / "port.log"
    decoder = Words(rest_after=0.0)
    follower = follow(path, decoder)
    append(path, b"alone")
    assert texts(follower.wait(0, some(1), timeout=30)) == ["alone"]
    follower.close()
    assert min(decoder.silences) >= 0
    assert decoder.count == 1


def test_a_file_that_appears_late_is_read_from_its_first_byte(tmp_path: Path) -> None:
    follower = follow(tmp_path / "late", Words())
    assert follower.wait(0, some(1), timeout=0.03) == []
    append(tmp_path / "late", b"first ")
    assert texts(follower.wait(0, some(1), timeout=30)) == ["first"]
    follower.close()


def test_a_file_that_never_appears_is_not_an_error(tmp_path: Path) -> None:
    follower = follow(tmp_path / "never", Words())
    assert follower.close()
    assert follower.records_since(0) == []
    assert follower.broken == ""


def test_starting_twice_is_the_same_as_once(tmp_path: Path) -> None:
    follower = follow(tmp_path / "port.log", Words())
    follower.start()
    assert sum(thread.name == "prints port.log" for thread in threading.enumerate()) == 1
    follower.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "prints port.log"]


def test_closing_a_source_that_was_not_started_does_nothing(tmp_path: Path) -> None:
    assert not FileFollower(tmp_path / "x", Words(), what="the file").close()


def mark(follower: FileFollower, write: Callable[[str, float], None], timeout: float = 30) -> int:
    return follower.mark("t", write, who="somebody", hint="look there", timeout=timeout)


def test_a_mark_is_found_among_records_that_come_with_it(tmp_path: Path) -> None:
    path = tmp_path / "port.log"
    path.write_bytes(b"before #other ")
    follower = follow(path, Words())
    follower.wait(0, some(2), timeout=30)
    assert mark(follower, lambda token, _timeout: append(path, f"then #{token} after ".encode())) == 4
    follower.wait(4, some(1), timeout=30)
    assert texts(follower.records_since(4)) == ["after"]
    follower.close()


def test_an_earlier_mark_of_the_same_name_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "port.log"
    path.write_bytes(b"#t ")
    follower = follow(path, Words())
    follower.wait(0, some(1), timeout=30)
    with pytest.raises(
        EvidenceLost, match=r"somebody accepted marker t, but it did not arrive in .*port\.log within 0 s"
    ) as caught:
        mark(follower, lambda _token, _timeout: None, timeout=0.05)
    assert caught.value.hint == "look there"
    assert mark(follower, lambda _token, _timeout: append(path, b"#t ")) == 2
    follower.close()


def test_an_error_while_a_mark_is_written_is_raised_unchanged(tmp_path: Path) -> None:
    def refuse(_token: str, _timeout: float) -> None:
        raise EvidenceLost("nobody writes it")

    follower = follow(tmp_path / "port.log", Words())
    with pytest.raises(EvidenceLost, match="nobody writes it"):
        mark(follower, refuse)
    follower.close()


def test_a_file_that_breaks_while_a_mark_is_awaited_ends_the_wait(tmp_path: Path) -> None:
    path = tmp_path / "port.log"
    decoder = Words()
    follower = follow(path, decoder)

    def break_it(token: str, _timeout: float) -> None:
        decoder.broken = RuntimeError("it broke")
        append(path, f"#{token} ".encode())

    with pytest.raises(EvidenceLost, match=r"marker t did not arrive: .*RuntimeError: it broke"):
        mark(follower, break_it)
    written: list[str] = []
    with pytest.raises(EvidenceLost, match="it broke"):
        mark(follower, lambda token, _timeout: written.append(token))
    assert written == []  # it would not be read
    follower.close()


def test_records_before_an_error_and_the_rest_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "port.log"
    decoder = Words(rest_after=float("inf"))
    follower = follow(path, decoder)
    append(path, b"one tw")
    follower.wait(0, some(1), timeout=30)
    decoder.broken = RuntimeError("it broke")
    append(path, b"o ")
    records = follower.wait(0, some(3), timeout=30)
    assert texts(records) == ["one", "tw"]
    assert isinstance(records[-1], GapRecord)
    follower.close()
