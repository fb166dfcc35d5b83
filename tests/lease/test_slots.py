"""Slots for guests: no more than there are, and one for a waiting run when a holder releases its slot or dies."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lab.host.capacity import Capacity
from lab.lease.slots import Slots, slot_count
from tests.simulated import SimulatedSource, manifest


def test_there_are_no_more_holders_than_places(tmp_path: Path) -> None:
    first, second, third = (Slots(tmp_path, 2) for _ in range(3))
    first.take()
    second.take()
    second.take()  # it has one
    got = threading.Event()

    def wait() -> None:
        third.take()
        got.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not got.is_set()
    first.give_back()
    first.give_back()
    assert got.wait(30)
    thread.join(30)
    for slots in (second, third):
        slots.give_back()


HOLDER = """
import sys, pathlib
sys.path.insert(0, {root!r})
from lab.lease.slots import Slots
slots = Slots(pathlib.Path({folder!r}), 1)
slots.take()
print("taken", flush=True)
sys.stdin.read()
"""


def test_a_dead_holder_frees_its_place(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", HOLDER.format(root=str(Path(__file__).parents[2]), folder=str(tmp_path))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"taken\n"
        holder.kill()
    slots = Slots(tmp_path, 1)
    slots.take()
    slots.give_back()


def test_places_follow_from_cores_and_memory(tmp_path: Path) -> None:
    source = SimulatedSource(tmp_path, manifest=manifest(machine={"machine": "q35", "memory_mb": 768, "disk": "disk.qcow2"}))
    roomy = Capacity(cores=2, memory_mb=16000)
    assert slot_count(source, forks=True, capacity=roomy) == 6
    assert slot_count(source, forks=False, capacity=roomy) == 2
    tight = Capacity(cores=8, memory_mb=2500)
    assert slot_count(source, forks=True, capacity=tight) == 2
    assert slot_count(source, forks=False, capacity=tight) == 2
    assert slot_count(source, forks=True, capacity=Capacity(cores=1, memory_mb=100)) == 1


def taken(slots: Slots) -> threading.Event:
    """Take a slot in the background; the event is set when it has one."""
    got = threading.Event()

    def take() -> None:
        slots.take()
        got.set()

    threading.Thread(target=take, daemon=True).start()
    return got


def test_guests_of_two_runs_share_one_host(tmp_path: Path) -> None:
    """Each run counted by itself: two runs at once started twice as many guests as the host can run."""
    small, large = [Slots(tmp_path, 6) for _ in range(4)], Slots(tmp_path, 2)
    for slots in small:
        slots.take()
    got = taken(large)
    assert not got.wait(0.05)
    # Two sixths are free, wherever they are; with the third one, half of the host is free.
    small[1].give_back()
    assert got.wait(30)
    late = taken(small[1])
    assert not late.wait(0.05)
    small[3].give_back()
    assert late.wait(30)
    for slots in (*small, large):
        slots.give_back()


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 7, 9, 10, 24, 64])
def test_there_are_as_many_places_as_were_counted(tmp_path: Path, count: int) -> None:
    held = [Slots(tmp_path, count) for _ in range(count)]
    for slots in held:
        slots.take()
    more = Slots(tmp_path, count)
    got = taken(more)
    assert not got.wait(0.05)
    held[0].give_back()
    assert got.wait(30)
    for slots in (*held, more):
        slots.give_back()
