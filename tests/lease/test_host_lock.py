"""The host lock: many tests share the host, one has it alone, and no waiting test is overtaken for ever."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from lab.lease.host_lock import HostLock


def held(folder: Path, name: str) -> bool:
    """Whether a process holds a lock exclusively."""
    fd = os.open(folder / name, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def test_many_tests_share_the_host(tmp_path: Path) -> None:
    with HostLock(tmp_path / "run", tmp_path).shared(), HostLock(tmp_path / "run", tmp_path).shared():
        assert not held(tmp_path, "turn")


def test_a_test_that_has_the_host_alone_excludes_the_others(tmp_path: Path) -> None:
    order: list[str] = []

    def share() -> None:
        with HostLock(tmp_path / "run", tmp_path).shared():
            order.append("shared")

    with HostLock(tmp_path / "run", tmp_path).alone():
        assert held(tmp_path, "turn")
        thread = threading.Thread(target=share)
        thread.start()
        thread.join(0.05)
        order.append("alone")
    thread.join(30)
    assert order == ["alone", "shared"]


def test_waiting_for_the_host_alone_does_not_block_running_tests(tmp_path: Path) -> None:
    order: list[str] = []

    def alone() -> None:
        with HostLock(tmp_path / "run", tmp_path).alone():
            order.append("alone")

    with HostLock(tmp_path / "run", tmp_path).shared():
        thread = threading.Thread(target=alone)
        thread.start()
        thread.join(0.05)
        with HostLock(tmp_path / "run", tmp_path).shared():
            order.append("shared")
    thread.join(30)
    assert order == ["shared", "alone"]


def test_runs_wait_for_each_other_and_none_waits_for_ever(tmp_path: Path) -> None:
    """Each run had a lock of its own.

    A run that always has a running test must not prevent another run's test from ever being alone.
    """
    order: list[str] = []
    ours, theirs = (HostLock(tmp_path / run, tmp_path) for run in ("ours", "theirs"))

    def alone() -> None:
        with ours.alone():
            order.append("alone")

    def share() -> None:
        with theirs.shared():
            order.append("shared")

    with theirs.shared():
        waiting = threading.Thread(target=alone)
        waiting.start()
        while not held(tmp_path, "turn.gate"):
            assert waiting.is_alive()
        late = threading.Thread(target=share)
        late.start()
        late.join(0.05)
        assert order == []
    for thread in (waiting, late):
        thread.join(30)
    assert order == ["alone", "shared"]
