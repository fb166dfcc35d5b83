"""Failures between a restored VM and a guest that answers: each is an error of the lab, and nothing of the fork is left."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from lab.errors import GuestExited, LabError, TransportError
from lab.image.manifest import PrintPort
from lab.snapshot.fork_maker import ForkSteps
from lab.snapshot.forks import Forks
from lab.snapshot.resume import resume_guest
from lab.vm.process import WaitingSupervisor
from lab.vm.qmp import CommandRefused
from lab.vm.snapshot import Snapshot
from tests.simulated import manifest
from tests.simulated_guest import SimulatedMachine
from tests.snapshot.fakes import SYNC, World

ANSWERS = b"OK\n"


class ChannelMachine(SimulatedMachine):
    """A restored VM with a print agent on its channel, and no service on its WinRM port.

    Args:
        run_dir: Its folder.
        answer: What the agent answers; empty: nothing; None: it ends the connection.
        cont_error: Raised when its virtual CPUs should run.
    """

    def __init__(self, run_dir: Path, *, answer: bytes | None, cont_error: LabError | None) -> None:
        super().__init__(run_dir)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.ports = {5985: self._listener.getsockname()[1], 5999: self._listener.getsockname()[1]}
        self._listener.close()
        self.channels = self
        self.paused = True
        self.agents: list[socket.socket] = []
        self._answer = answer
        self._cont_error = cont_error

    def open(self, name: str) -> socket.socket:
        assert name == "lab.prints"
        ours, agent = socket.socketpair()
        self.agents.append(agent)
        if self._answer is None:
            agent.shutdown(socket.SHUT_WR)
        else:
            agent.sendall(self._answer)
        return ours

    def cont(self) -> None:
        if self._cont_error is not None:
            raise self._cont_error
        super().cont()

    def close(self) -> None:
        super().close()
        for agent in self.agents:
            agent.close()


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    prints = PrintPort(source="wine", mark_port=5999, mark_channel="lab.prints")
    made.wish = replace(made.wish, manifest=manifest(prints=prints))
    return made


def resuming(world: World, machines: list[ChannelMachine], answer: bytes | None, cont_error: LabError | None) -> Forks:
    """Forks whose VMs are doubles, and that resume as real ones do."""

    def restore(
        _snapshot: Snapshot, _folder: Path, run_dir: Path, /, *, name: str, waiting: WaitingSupervisor | None
    ) -> ChannelMachine:
        assert (name, waiting) == ("gw0-1", None)
        machines.append(ChannelMachine(run_dir, answer=answer, cont_error=cont_error))
        return machines[-1]

    return world.make(steps=ForkSteps(restore=restore, resume=partial(resume_guest, timeout=0.2)))


@pytest.mark.parametrize(
    ("answer", "cont_error", "message"),
    [
        pytest.param(ANSWERS, GuestExited("QEMU was killed by signal 9"), "QEMU was killed by signal 9", id="QEMU dies"),
        pytest.param(
            ANSWERS,
            CommandRefused("cont", "GenericError", "Resetting the Virtual Machine is required"),
            "QEMU refused the monitor command cont: Resetting the Virtual Machine is required",
            id="QMP refuses cont",
        ),
        pytest.param(b"NO\n", None, "print agent cannot set the clock: it answered b'NO", id="the agent refuses"),
        pytest.param(b"", None, "print agent does not answer after the guest was resumed: timed out", id="the agent is silent"),
        pytest.param(None, None, "print agent cannot set the clock: it answered b''", id="the agent ends"),
        pytest.param(ANSWERS, None, "127.0.0.1:.*refused", id="the service does not answer"),
    ],
)
def test_a_fork_that_does_not_resume_leaves_nothing(
    world: World, answer: bytes | None, cont_error: LabError | None, message: str
) -> None:
    machines: list[ChannelMachine] = []
    forks = resuming(world, machines, answer, cont_error)
    threads = set(threading.enumerate())
    for tries in (1, 2):
        with pytest.raises((GuestExited, TransportError), match=message):
            forks.fork("gw0-1", SYNC)
        assert forks.figures.failed == tries
        assert not machines[-1].alive
        assert world.closed == [("gw0-1", False)] * tries
        assert [path.name for path in world.runs_dir.iterdir()] == [".lock"]  # no run folder
    assert set(threading.enumerate()) == threads
    forks.distrust(SYNC, "did not resume")
    assert "is made again" in forks.figures.notes[0]
    assert [template.drivers for template in world.store.all()] == [()]
    forks.close()
