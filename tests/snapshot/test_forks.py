"""Forks of one worker: each from the template that fits, and what happens when one does not resume."""

from __future__ import annotations

import threading

import pytest

from lab.errors import GuestExited, SnapshotFailed
from lab.snapshot.forks import Forks
from lab.snapshot.template import Template
from tests.snapshot.fakes import BASE, PLAIN, SYNC, World, expecting, failing


def test_a_template_with_loaded_drivers_comes_from_one_without(forks: Forks, world: World) -> None:
    first = forks.fork("gw0-1", SYNC)
    second = forks.fork("gw0-2", SYNC)
    assert first is not None
    assert second is not None
    assert world.maker.made == [BASE, ("sync",)]
    assert first.template == second.template
    assert first.loaded == {"sync"}
    assert [template.made_s for template in forks.figures.made.values()] == [9.0, 9.0]
    assert [template.drivers for template in forks.figures.used.values()] == [("sync",)]


def test_another_process_finds_the_templates(forks: Forks, world: World) -> None:
    forks.fork("gw0-1", SYNC)
    other = world.make()
    other.fork("gw1-1", SYNC)
    assert world.maker.made == [BASE, ("sync",)]
    assert other.figures.made == {}
    other.close()


def test_a_template_that_was_removed_is_made_anew(forks: Forks, world: World) -> None:
    assert forks.fork("gw0-1", SYNC) is not None
    world.store.prune()
    assert forks.fork("gw0-2", SYNC) is not None
    world.store.prune()
    assert forks.fork("gw0-3", SYNC) is not None
    assert world.maker.made == 3 * [BASE, ("sync",)]
    assert forks.figures.notes == []


def test_a_template_that_is_removed_again_and_again_is_not_distrusted(forks: Forks, world: World) -> None:
    for _ in range(3):
        assert forks.fork("gw0-1", SYNC) is not None
        world.store.prune()
        forks.distrust(SYNC, "is not a template")
    assert forks.fork("gw0-1", SYNC) is not None
    assert forks.figures.notes == []


@pytest.mark.parametrize("error", [SnapshotFailed("has no snapshot"), FileNotFoundError("base0.qcow2")])
def test_a_base_that_is_removed_meanwhile_is_made_again(forks: Forks, world: World, error: Exception) -> None:
    def remove(base: Template) -> None:
        world.store.discard(base)
        raise error

    world.maker.while_loading = [remove]
    with pytest.raises(SnapshotFailed, match="was removed while"):
        forks.fork("gw0-1", SYNC)
    assert forks.fork("gw0-1", SYNC) is not None
    assert forks.figures.notes == []


def test_a_fork_that_does_not_resume_is_counted_and_leaves_nothing(forks: Forks, world: World) -> None:
    world.vms.resume_errors = [GuestExited("QEMU ended")]
    with pytest.raises(GuestExited):
        forks.fork("gw0-1", SYNC)
    assert forks.figures.failed == 1
    assert [machine.alive for machine in world.vms.machines] == [False]
    assert world.closed == [("gw0-1", False)]
    assert not world.vms.folders[0].exists()


def test_a_distrusted_template_is_made_anew_once_and_then_given_up(forks: Forks, world: World) -> None:
    fail = failing(forks, world, 2)
    fail()
    assert "is made again" in forks.figures.notes[0]
    assert forks.fork("gw0-2", SYNC) is not None
    assert world.maker.made == [BASE, ("sync",), ("sync",)]
    fail()
    assert "guests are booted from now on" in forks.figures.notes[1]
    assert forks.fork("gw0-3", SYNC) is None
    assert forks.fork("gw0-4", PLAIN) is not None


def test_the_template_that_failed_is_removed_and_not_the_one_that_was_made_meanwhile(world: World) -> None:
    """The wish's own one, new and good, was removed, and the broken base stayed."""
    forks = expecting(world, 9)
    over = threading.Event()

    def wait(_base: Template) -> None:
        assert over.wait(30)

    world.maker.while_loading = [wait]
    world.vms.resume_errors = [GuestExited("1"), GuestExited("2")]
    for _ in range(2):
        with pytest.raises(GuestExited):
            forks.fork("gw0-1", SYNC)
    over.set()
    for future in forks._supply._making.values():
        future.result(30)
    forks.distrust(SYNC, "did not resume")
    assert [template.drivers for template in world.store.all()] == [("sync",)]
    assert "uses a template of its own" in forks.figures.notes[-1]
    assert forks.fork("gw0-2", SYNC) is not None
    forks.close()
