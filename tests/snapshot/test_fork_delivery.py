"""The run's files in a fork of the base: what happens if the delivery fails, or delivers other files."""

from __future__ import annotations

import pytest

from lab.errors import GuestRefuses, LabError, TransportError, WrongBinary
from lab.snapshot.forks import Forks
from tests.snapshot.fakes import PLAIN, SYNC, World, expecting


@pytest.mark.parametrize("error", [TransportError("the copy failed"), GuestRefuses("no drive Q:")])
def test_a_failed_delivery_does_not_remove_the_template(world: World, error: LabError) -> None:
    world.vms.delivery_errors = [error.anew(), error.anew()]
    forks = expecting(world, 1)
    for _ in range(2):
        with pytest.raises(type(error)):
            forks.fork("gw0-1", SYNC)
    forks.distrust(SYNC, error.message)
    assert [template.base for template in world.store.all()] == [True]
    assert forks.figures.failed == (0 if isinstance(error, GuestRefuses) else 2)
    assert forks.figures.notes == [f"files could not be copied into forks ({error.message}), so a guest was booted instead"]
    forks.close()


def test_a_wrong_manifest_is_an_error_in_a_fork_of_the_base_too(forks: Forks, world: World) -> None:
    assert forks.template(PLAIN) is not None
    world.maker.errors = [GuestRefuses("no drive Q:")]
    with pytest.raises(GuestRefuses):
        forks.fork("gw0-1", SYNC)
    assert forks.figures.notes == []


def test_a_fork_that_got_other_files_is_ended(world: World) -> None:
    forks = expecting(world, 1)
    driver = world.wish.payload.driver("sync")
    driver.image.write_bytes(b"written into the run's folder")
    with pytest.raises(WrongBinary):
        forks.fork("gw0-1", SYNC)
    forks.close()
    assert forks.figures.failed == 1
    assert [machine.alive for machine in world.vms.machines] == [False]
    assert world.closed == [("gw0-1", False)]
