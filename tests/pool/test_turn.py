"""Turns on the machine: many share it, one has it alone, and nobody who waits is overtaken for ever."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from lab.pool.turn import MachineTurn


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
    with MachineTurn(tmp_path).shared(), MachineTurn(tmp_path).shared():
        assert not held(tmp_path, "turn.lock")


def test_one_alone_keeps_the_others_out(tmp_path: Path) -> None:
    order: list[str] = []

    def share() -> None:
        with MachineTurn(tmp_path).shared():
            order.append("shared")

    with MachineTurn(tmp_path).alone():
        assert held(tmp_path, "turn.lock")
        thread = threading.Thread(target=share)
        thread.start()
        thread.join(0.05)
        order.append("alone")
    thread.join(30)
    assert order == ["alone", "shared"]


def test_who_wants_to_be_alone_lets_the_others_go_on(tmp_path: Path) -> None:
    order: list[str] = []

    def alone() -> None:
        with MachineTurn(tmp_path).alone():
            order.append("alone")

    with MachineTurn(tmp_path).shared():
        thread = threading.Thread(target=alone)
        thread.start()
        thread.join(0.05)
        with MachineTurn(tmp_path).shared():
            order.append("shared")
    thread.join(30)
    assert order == ["shared", "alone"]
