"""A detached guest that a run uses: what an earlier run has left in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.errors import GuestError, ServiceError
from lab.gate.facts import Facts, PhaseFact
from lab.gate.verdict import decide
from lab.lease import borrowed
from lab.lease.borrowed import BorrowedSource
from lab.lease.pool import GuestPool
from lab.lease.starter import GuestStarter
from lab.live.guest import LiveGuest
from tests.simulated import SimulatedSource
from tests.simulated_guest import SimulatedDriver, SimulatedMachine, SimulatedPrints, SimulatedTransport


@dataclass
class UpGuest:
    """A registered guest, with what the source reads of it."""

    image_dir: Path
    name: str = "wine"


class Up:
    """A simulated guest that is up, with two drivers of an earlier run of which the second needs the first."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        simulated = SimulatedSource(tmp_path, needs={"async": ("sync",)})
        machine = SimulatedMachine()
        prints = SimulatedPrints(machine)
        self.transport = SimulatedTransport(machine, prints)
        for package in simulated.payload.drivers.values():
            self.transport.services[package.service] = SimulatedDriver(state="RUNNING")
        self.services = {name: package.service for name, package in simulated.payload.drivers.items()}
        self.live: LiveGuest = simulated.live("gw0-1", machine, prints, self.transport)
        self.closed: list[bool] = []
        close = LiveGuest.close

        def closing(live: LiveGuest, **how: Any) -> None:
            self.closed.append(True)
            close(live, **how)

        monkeypatch.setattr(LiveGuest, "close", closing)
        monkeypatch.setattr(borrowed, "_attach", lambda _guest: machine)
        monkeypatch.setattr(BorrowedSource, "_live", lambda *_: self.live)
        guest: Any = UpGuest(tmp_path)
        self.source = BorrowedSource(
            guest=guest,
            manifest=simulated.manifest,
            payload=simulated.payload,
            accelerator="tcg",
            qemu="0",
            transport="winrm",
            files_by="winrm",
            smp=1,
            clock="real",
            evidence_dir=tmp_path / "guests",
            taken=[],
        )


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Up:
    return Up(tmp_path, monkeypatch)


def test_drivers_of_an_earlier_run_are_unloaded_before_those_that_they_need(up: Up) -> None:
    up.source.boot("gw0-1")
    calls = [line.split()[1:3] for line in up.transport.commands]
    user, used = up.services["async"], up.services["sync"]
    changes = [call for call in calls if call[0] != "query"]
    assert changes == [["stop", user], ["delete", user], ["stop", used], ["delete", used]]
    # The lab waits between stop and delete: the name of a loaded driver is not free.
    for name in (user, used):
        assert ["query", name] in calls[calls.index(["stop", name]) : calls.index(["delete", name])]
    assert up.transport.services == {}
    assert not up.closed


def test_a_driver_that_does_not_unload_does_not_accuse_the_runs_driver(up: Up) -> None:
    up.transport.refuse_stop = True
    with pytest.raises(GuestError, match="guest wine has async of an earlier run loaded") as caught:
        GuestPool(GuestStarter(up.source, "gw0")).acquire(drivers=("async",))
    assert not isinstance(caught.value, ServiceError)
    setup = PhaseFact(when="setup", outcome="failed", error=caught.value)
    assert decide(Facts(phases=[setup])).verdict == "infra"
    assert "lab down wine" in caught.value.hint
    assert up.closed == [True]
