"""The spare: a fork that is prepared while a test runs, and paused until the next one needs it."""

from __future__ import annotations

from lab.errors import GuestExited, TransportError
from lab.snapshot.forks import Forks
from tests.snapshot.fakes import PLAIN, SYNC, World, expecting, services_of


def test_the_spare_serves_the_next_fork_of_the_same_request(forks: Forks, world: World) -> None:
    forks.fork("gw0-1", SYNC)
    forks.prepare("gw0-2", SYNC)
    forks.prepare("gw0-2", SYNC)  # it is on its way
    guest = forks.fork("gw0-2", SYNC)
    assert guest is not None
    assert guest.machine is world.vms.machines[1]
    assert not world.vms.machines[1].paused
    assert len(world.vms.machines) == 2
    guest.close()
    assert world.closed == [("gw0-2", False)]


def test_a_spare_for_another_request_is_ended(forks: Forks, world: World) -> None:
    forks.fork("gw0-1", SYNC)
    forks.fork("gw0-2", PLAIN)
    forks.prepare("gw0-3", SYNC)
    guest = forks.fork("gw0-3", PLAIN)
    assert guest is not None
    assert [machine.alive for machine in world.vms.machines] == [True, True, False, True]
    assert not world.vms.folders[2].exists()


def test_a_spare_that_died_is_replaced(forks: Forks, world: World) -> None:
    forks.fork("gw0-1", SYNC)
    forks.prepare("gw0-2", SYNC)
    forks._background.submit(lambda: None).result(30)
    assert world.vms.machines[1].paused
    world.vms.machines[1].kill()
    guest = forks.fork("gw0-2", SYNC)
    assert guest is not None
    assert guest.machine is world.vms.machines[2]
    assert forks.figures.failed == 0


def test_a_spare_that_does_not_answer_when_it_continues_is_replaced(forks: Forks, world: World) -> None:
    forks.fork("gw0-1", SYNC)
    forks.prepare("gw0-2", SYNC)
    world.vms.continue_errors = [TransportError("the guest did not take the time of day")]
    guest = forks.fork("gw0-2", SYNC)
    assert guest is not None
    assert guest.machine is world.vms.machines[2]
    assert [machine.alive for machine in world.vms.machines] == [True, False, True]
    assert not world.vms.folders[1].exists()


def test_a_spare_that_cannot_be_restored_is_no_failure(forks: Forks, world: World) -> None:
    forks.fork("gw0-1", SYNC)
    world.vms.restore_errors.append(GuestExited("QEMU ended"))
    forks.prepare("gw0-2", SYNC)
    guest = forks.fork("gw0-2", SYNC)
    assert guest is not None
    assert guest.alive


def test_errors_of_a_spare_in_the_background_do_not_reach_the_caller(forks: Forks, world: World) -> None:
    forks.fork("gw0-1", SYNC)
    for wish in (SYNC, PLAIN):
        world.vms.resume_errors.append(ValueError("not what was expected"))
        forks.prepare("gw0-2", SYNC)
        guest = forks.fork("gw0-2", wish)
        assert guest is not None
        assert guest.alive


def test_a_spare_that_does_not_end_at_once_is_still_closed(forks: Forks, world: World) -> None:
    forks.fork("gw0-1", SYNC)
    forks.prepare("gw0-2", SYNC)
    forks._background.submit(lambda: None).result(30)
    world.vms.machines[1].kill_errors = [GuestExited("QEMU did not end in time")]
    assert forks.fork("gw0-2", PLAIN) is not None
    assert world.closed == [("gw0-2", False)]
    assert not world.vms.machines[1].alive


def test_without_memory_there_is_no_spare(forks: Forks, world: World) -> None:
    forks.fork("gw0-1", SYNC)
    world.memory_mb = 600
    forks.prepare("gw0-2", SYNC)
    assert len(world.vms.machines) == 1


def test_nothing_is_prepared_before_its_template_is_known(forks: Forks, world: World) -> None:
    forks.prepare("gw0-1", SYNC)
    assert world.vms.machines == []


def test_closing_ends_the_spare(world: World) -> None:
    forks = world.make()
    guest = forks.fork("gw0-1", SYNC)
    forks.prepare("gw0-2", SYNC)
    forks.close()
    forks.close()
    forks.prepare("gw0-3", SYNC)
    assert [machine.alive for machine in world.vms.machines] == [True, False]
    assert not world.vms.folders[1].exists()
    assert guest is not None
    guest.close()


def test_a_spare_of_the_base_has_the_files_before_it_is_wanted(world: World) -> None:
    forks = expecting(world, 2)
    forks.fork("gw0-1", SYNC)
    forks.prepare("gw0-2", SYNC)
    forks._background.submit(lambda: None).result(30)
    assert len(services_of(world.vms.guests[1])) == 2
    guest = forks.fork("gw0-2", SYNC)
    forks.close()
    assert guest is world.vms.guests[1]
