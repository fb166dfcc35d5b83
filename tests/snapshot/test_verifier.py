"""Driver Verifier is in a template, and each fork says itself that it has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.config.verifier import BUILT_IN
from lab.errors import VerifierNotInForce
from lab.guest.protocol import CommandResult
from lab.guest.verifier.ways import VERIFIER
from lab.live.guest import LiveGuest
from lab.live.verifier import VerifierWish
from tests.snapshot.fakes import PLAIN, SYNC, SimulatedVms, World
from tests.snapshot.making import SimulatedSteps
from tests.verifier_double import Verified, WindowsVerifier


class VerifiedVms(SimulatedVms):
    """Forks in which Windows' verifier answers."""

    windows = WindowsVerifier(build=22631)

    def resume(self, *args: Any, **more: Any) -> LiveGuest:
        live = super().resume(*args, **more)
        run = live.transport.run

        def answer(command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
            if isinstance(command, str) or command[0] != VERIFIER:
                return run(command, timeout=timeout, stdin=stdin, shell=shell)
            code, text = self.windows.run(command[1:])
            return CommandResult(command="verifier", exit_code=code, stdout=text.encode(), stderr=b"", duration_s=0.0)

        live.transport.run = answer  # type: ignore[method-assign]
        return live


@pytest.fixture
def vms(world: World) -> VerifiedVms:
    found = VerifiedVms(world.source)
    found.windows = WindowsVerifier(build=22631, active={4}, drivers={"sim.sys": Verified(), "other.sys": Verified()})
    world.wish = replace(
        world.wish,
        verifier=VerifierWish(name="special-pool", profile=BUILT_IN["special-pool"], drivers=("other.sys", "sim.sys")),
    )
    return found


def test_base_and_derived_templates_have_it_and_forks_read_it_back(world: World, vms: VerifiedVms) -> None:
    forks = world.make(SimulatedSteps(world.source).maker(), steps=vms.steps)
    try:
        template = forks.template(SYNC)
        assert template is not None
        assert template.drivers == ("sync",)
        assert template.verifier is not None
        assert template.verifier.checks == ("pool_tracking",)
        assert "Driver Verifier special-pool" in template.name
        found = world.store.find(template.key)
        assert found is not None
        assert found.verifier == template.verifier
        live = forks.fork("gw0-1", SYNC)
        assert live is not None
        assert live.verifier is not None
        assert live.verifier.flags == 8
        assert "MODULE: sim.sys" in live.verifier.answer
        assert ("/query",) in vms.windows.calls
        live.close()
    finally:
        forks.close()


def test_a_fork_without_it_is_not_handed_out(world: World, vms: VerifiedVms) -> None:
    forks = world.make(SimulatedSteps(world.source).maker(), steps=vms.steps)
    try:
        assert forks.template(PLAIN) is not None
        vms.windows.active.clear()
        with pytest.raises(VerifierNotInForce, match="Pool tracking"):
            forks.fork("gw0-1", PLAIN)
        assert not any(machine.alive for machine in vms.machines)
        assert forks.figures.failed == 1
        assert all(not folder.exists() for folder in vms.folders)
    finally:
        forks.close()


def test_a_profile_has_a_template_of_its_own(world: World, vms: VerifiedVms) -> None:
    del vms
    wish = world.wish.base()
    assert wish.verifier is not None
    others = [
        replace(wish, verifier=None),
        replace(wish, verifier=replace(wish.verifier, drivers=("sim.sys",))),
        replace(wish, verifier=replace(wish.verifier, profile=BUILT_IN["standard"])),
    ]
    assert len({wish.key, *(other.key for other in others)}) == 4
    assert Path(wish.image_dir).is_dir()
