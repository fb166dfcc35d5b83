from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lab.prints.kd.output import PATIENCE_S, BackgroundWriter, OutputLost, PatientWriter


class Disk:
    """Stands in for ``os.write``: room for so many bytes, then full until the caller has waited long enough."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.written = b""
        self.room = room
        self.waits = 0
        self.now = 0.0
        self.more_after = 3
        monkeypatch.setattr(os, "write", self.write)

    def write(self, _descriptor: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = bytes(data[: self.room])
        self.written += part
        self.room -= len(part)
        return len(part)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.waits += 1
        if self.waits == self.more_after:
            self.room = 1000


def test_a_full_disk_delays_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, room=4)
    said: list[str] = []
    writer = PatientWriter(1, "kd.raw", ended=lambda: False, complain=said.append, wait=disk.wait, clock=lambda: disk.now)
    writer.write(b"0123456789")
    assert disk.written == b"0123456789"
    assert disk.waits == 3
    assert [text.partition(" ")[0] for text in said] == ["kd.raw", "kd.raw"]
    assert "No space left" in said[0]


def test_a_disk_that_stays_full_after_the_session_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, room=4)
    disk.more_after = -1
    writer = PatientWriter(1, "kd.raw", ended=lambda: disk.now > 100, wait=disk.wait, clock=lambda: disk.now)
    with pytest.raises(OutputLost, match=r"kd\.raw is incomplete: No space left"):
        writer.write(b"0123456789")
    assert disk.written == b"0123"
    assert 100 + PATIENCE_S <= disk.now < 102 + PATIENCE_S


def test_a_reader_that_stopped_does_not_delay_the_end_of_a_session() -> None:
    out, into = os.pipe()
    now = [0.0]

    def clock() -> float:
        now[0] += 4.0
        return now[0]

    writer = PatientWriter(into, "standard output", ended=lambda: True, clock=clock)
    with pytest.raises(OutputLost, match="has stopped"):
        writer.write(b"x" * (1 << 20))
    os.close(into)
    os.close(out)


def test_a_slow_reader_of_a_pipe_gets_everything() -> None:
    out, into = os.pipe()
    data = os.urandom(1 << 20)
    background = BackgroundWriter(PatientWriter(into, "pipe", ended=lambda: False))
    background.write(data)
    got = b""
    while len(got) < len(data):
        got += os.read(out, 1 << 16)
    background.close()
    assert got == data
    os.close(into)
    os.close(out)


def test_a_background_writer_writes_in_order_and_reports_losses_at_its_end(tmp_path: Path) -> None:
    with (tmp_path / "raw").open("wb", buffering=0) as file:
        background = BackgroundWriter(PatientWriter(file.fileno(), "raw", ended=lambda: True))
        for number in range(100):
            background.write(b"%d\n" % number)
        background.close()
    assert (tmp_path / "raw").read_bytes() == b"".join(b"%d\n" % number for number in range(100))

    out, into = os.pipe()
    os.close(out)
    background = BackgroundWriter(PatientWriter(into, "raw", ended=lambda: True))
    background.write(b"x")
    with pytest.raises(OutputLost, match="its reader has stopped"):
        background.close()
    os.close(into)
