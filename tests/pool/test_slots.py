"""Places for guests: no more than there are, and one for whoever waits when a holder lets go or dies."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from lab.host.capacity import Capacity
from lab.pool.slots import Slots, slot_count
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
from lab.pool.slots import Slots
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
