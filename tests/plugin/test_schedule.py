"""Which worker gets which tests when workers end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from xdist.remote import Producer

from lab.plugin.schedule import ForkScheduling

TESTS = [f"test_it.py::test[{number}]" for number in range(20)]


class Worker:
    """A worker that runs nothing."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.got: list[str] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: list[int]) -> None:
        self.got += [TESTS[index] for index in indices]

    def shutdown(self) -> None:
        self.shutting_down = True


@pytest.fixture
def scheduler() -> ForkScheduling:
    option = SimpleNamespace(loadscopereorder=False)
    config: Any = SimpleNamespace(option=option, getvalue=lambda name: ["2*popen"] if name == "tx" else None)
    made = ForkScheduling(config, Producer("test", enabled=False))
    made.classes = False
    return made


def start(scheduler: ForkScheduling, *workers: Worker) -> None:
    for worker in workers:
        scheduler.add_node(worker)


def collected(scheduler: ForkScheduling, worker: Worker) -> None:
    """As pytest-xdist does it: work is handed out once all of the first workers have collected."""
    scheduler.add_node_collection(worker, TESTS)
    if scheduler.collection_is_completed:
        scheduler.schedule()


def finish(scheduler: ForkScheduling, worker: Worker) -> list[str]:
    """Let a worker run all that it gets, until it has to end."""
    done: list[str] = []
    while len(done) < len(worker.got):
        done.append(worker.got[len(done)])
        scheduler.mark_test_complete(worker, TESTS.index(done[-1]))
    assert worker.shutting_down
    return done


def test_workers_that_die_while_their_successors_still_collect_cost_one_test_each(scheduler: ForkScheduling) -> None:
    first, second, third, fourth = (Worker(name) for name in ("gw0", "gw1", "gw2", "gw3"))
    start(scheduler, first, second)
    collected(scheduler, first)
    collected(scheduler, second)
    crashed = [scheduler.remove_node(first)]
    start(scheduler, third)
    crashed.append(scheduler.remove_node(second))
    start(scheduler, fourth)
    collected(scheduler, third)
    collected(scheduler, fourth)
    assert crashed == [first.got[0], second.got[0]]
    done = finish(scheduler, third) + finish(scheduler, fourth)
    assert set(done) | set(crashed) == set(TESTS)
    assert len(done) == len(set(done))
