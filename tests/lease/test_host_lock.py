"""Turns on the machine: many share it, one has it alone, and nobody who waits is overtaken for ever."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from lab.lease.host_lock import HostLock


def held(folder: Path, name: str) -> bool:
    """Whether somebody holds a lock exclusively."""
    fd = os.open(folder / name, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def test_many_share(tmp_path: Path) -> None:
    with HostLock(tmp_path / "run", tmp_path).shared(), HostLock(tmp_path / "run", tmp_path).shared():
        assert not held(tmp_path, "turn")


def test_one_alone_keeps_the_others_out(tmp_path: Path) -> None:
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


def test_who_wants_to_be_alone_lets_the_others_go_on(tmp_path: Path) -> None:
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


def test_runs_wait_for_each_other_and_nobody_for_ever(tmp_path: Path) -> None:
    """Each run had a lock of its own. A run that always has a test going on must not keep another's from ever being alone."""
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
