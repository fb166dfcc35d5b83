"""Collectors that wait for a guest: real processes, and kernels that are nothing but their port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from lab.errors import HostToolError
from lab.host.spare import Spare
from lab.prints.kd import attach
from lab.prints.kd.process import CollectorProcess, WaitingCollector, start_collector
from lab.prints.kd.record import End, Print, from_json
from tests.kdguest.target import KernelStopped, KernelTarget
from tests.prints.kd.live import ROOT, wait_for


@pytest.fixture
def waiting() -> Iterator[WaitingCollector]:
    made = WaitingCollector()
    yield made
    made.close()


def process_of(waiting: WaitingCollector) -> psutil.Process:
    assert waiting._child is not None
    return psutil.Process(waiting._child.pid)


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@contextmanager
def kernel(folder: Path) -> Iterator[KernelTarget]:
    folder.mkdir()
    made = KernelTarget(folder / "kd.sock")
    accepting = threading.Thread(target=made.accept)
    accepting.start()
    try:
        yield made
    finally:
        # A test that starts no collector leaves the port unused.
        accepting.join(0 if made.connected else 1)
        made.close()


def prints_of(collector: CollectorProcess) -> list[bytes]:
    lines = collector.records.read_bytes().splitlines()
    return [record.raw for line in lines if isinstance(record := from_json(line.decode()), Print)]


def test_a_waiting_collector_serves_the_guest_that_it_is_given(tmp_path: Path, waiting: WaitingCollector) -> None:
    process = process_of(waiting)
    with kernel(tmp_path / "run") as guest:
        collector = start_collector(tmp_path / "run" / "kd.sock", tmp_path / "run", waiting=waiting)
        assert collector.process.pid == process.pid
        wait_for(lambda: guest.connected, "the collector's connection")
        # `pwdx` and `lsof` tell whose it is.
        assert Path(process.cwd()) == tmp_path / "run"
        guest.print(b"one\n")
        guest.print(b"two\n")
        assert collector.control.status().heard
        guest.close()
        collector.close(60)
    assert collector.process.returncode == 0
    assert prints_of(collector) == [b"one\n", b"two\n"]
    last = from_json(collector.records.read_text().splitlines()[-1])
    assert isinstance(last, End)
    assert last.complete
    assert b"two\n" in (tmp_path / "run" / "kd.raw").read_bytes()
    assert collector.last_words() == ""


def test_a_waiting_collector_serves_one_guest_only(tmp_path: Path, waiting: WaitingCollector) -> None:
    with kernel(tmp_path / "first") as first, kernel(tmp_path / "second") as second:
        one = start_collector(tmp_path / "first" / "kd.sock", tmp_path / "first", waiting=waiting)
        assert not waiting.alive
        another = start_collector(tmp_path / "second" / "kd.sock", tmp_path / "second", waiting=waiting)
        assert one.process.pid != another.process.pid
        wait_for(lambda: first.connected and second.connected, "both connections")
        for guest, collector in ((first, one), (second, another)):
            guest.print(b"of this guest\n")
            guest.close()
            collector.close(60)
            assert prints_of(collector) == [b"of this guest\n"]


def test_a_killed_collector_loses_the_prints_of_its_own_guest_alone(tmp_path: Path) -> None:
    with kernel(tmp_path / "first") as first, kernel(tmp_path / "second") as second:
        one = start_collector(tmp_path / "first" / "kd.sock", tmp_path / "first")
        another = start_collector(tmp_path / "second" / "kd.sock", tmp_path / "second")
        wait_for(lambda: first.connected and second.connected, "both connections")
        one.process.kill()
        with pytest.raises(KernelStopped):
            first.print(b"lost\n")
        second.print(b"kept\n")
        assert another.alive
        second.close()
        for collector in (one, another):
            collector.close(60)
    assert prints_of(one) == []
    assert prints_of(another) == [b"kept\n"]


@pytest.mark.parametrize("noticed", [True, False])
def test_a_collector_that_was_killed_as_it_waited_is_replaced(
    noticed: bool, tmp_path: Path, waiting: WaitingCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = process_of(waiting)
    process.kill()
    wait_for(lambda: gone(process), "the collector to end")
    if not noticed:
        monkeypatch.setattr(WaitingCollector, "alive", True)  # as if it had ended a moment later
    with kernel(tmp_path / "run") as guest:
        collector = start_collector(tmp_path / "run" / "kd.sock", tmp_path / "run", waiting=waiting)
        assert collector.process.pid != process.pid
        wait_for(lambda: guest.connected, "the collector's connection")
        guest.print(b"arrived\n")
        guest.close()
        collector.close(60)
    assert prints_of(collector) == [b"arrived\n"]


def test_the_files_of_another_guest_are_left_alone_and_no_process_is_left(tmp_path: Path, waiting: WaitingCollector) -> None:
    process = process_of(waiting)
    (tmp_path / "kd.jsonl").write_text("of another guest")
    with pytest.raises(HostToolError, match=r"kd\.jsonl") as caught:
        start_collector(tmp_path / "kd.sock", tmp_path, waiting=waiting)
    assert "one guest only" in caught.value.hint
    assert (tmp_path / "kd.jsonl").read_text() == "of another guest"
    assert gone(process)


def test_a_collector_that_cannot_begin_says_why_and_ends(tmp_path: Path) -> None:
    (tmp_path / "kd.raw").write_bytes(b"of another guest")
    collector = start_collector(tmp_path / "kd.sock", tmp_path, wait=0)
    assert collector.process.wait(60) == 1
    assert "kd.raw exists already" in collector.last_words()
    assert "Traceback" not in collector.last_words()


def test_a_collector_that_cannot_even_start_is_an_error_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach, "MODULE", "lab.prints.kd.no_such_module")
    with pytest.raises(HostToolError, match="ended before it began") as caught:
        start_collector(tmp_path / "kd.sock", tmp_path)
    assert "No module named" in str(caught.value)


def test_without_a_python_none_waits_and_a_guest_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    spare = Spare(WaitingCollector, "collector")
    spare.refill()
    assert spare.take() is None
    with pytest.raises(HostToolError, match="/nowhere/python"):
        start_collector(tmp_path / "kd.sock", tmp_path)


def test_closing_ends_a_waiting_collector(waiting: WaitingCollector) -> None:
    process = process_of(waiting)
    assert waiting.alive
    # Ctrl-C in the terminal of the tests does not reach it.
    assert os.getsid(process.pid) == process.pid
    waiting.close()
    waiting.close()
    assert gone(process)
    assert not waiting.alive


_OWNER = """
import os, signal, sys
from lab.host.spare import Spare
from lab.prints.kd.process import WaitingCollector

spare = Spare(WaitingCollector, "collector")
spare.refill()
pids = [spare._waiting._child.pid]
if sys.argv[1] == "forked":
    child = os.fork()
    if child == 0:
        signal.pause()
    pids.append(child)
os.write(1, (" ".join(map(str, pids)) + "\\n").encode())
signal.pause()
"""


@pytest.mark.parametrize("way", ["plain", "forked"])
def test_killing_the_owner_leaves_no_waiting_collector(way: str) -> None:
    with subprocess.Popen([sys.executable, "-c", _OWNER, way], cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        first, *forks = (int(word) for word in owner.stdout.readline().split())
        collector = psutil.Process(first)
        owner.kill()
        owner.wait(60)
    try:
        wait_for(lambda: gone(collector), "the collector to end")
    finally:
        for fork in forks:
            os.kill(fork, signal.SIGKILL)
