"""The process of a fork's print channel is started before the fork."""

from __future__ import annotations

import pytest

from lab.errors import GuestExited
from lab.snapshot.forks import Forks
from tests.snapshot.fakes import PLAIN, World


def test_each_fork_gets_a_helper_of_its_own_and_one_waits_for_the_next(forks: Forks, world: World) -> None:
    forks.fork("gw0-1", PLAIN)
    forks.fork("gw0-2", PLAIN)
    forks.close()
    first, second, waiting = world.vms.helpers
    assert world.vms.given == [first, second]
    # The source of a fork's prints ends its own.
    assert (first.alive, second.alive, waiting.alive) == (True, True, False)


def test_the_helper_of_a_fork_that_does_not_resume_is_ended(forks: Forks, world: World) -> None:
    world.vms.resume_errors = [GuestExited("QEMU ended")]
    with pytest.raises(GuestExited):
        forks.fork("gw0-1", PLAIN)
    [helper] = world.vms.helpers
    assert not helper.alive


def test_a_fork_resumes_without_a_helper_where_none_can_be_started(
    forks: Forks, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> object:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("tests.snapshot.fakes.FakeHelper", fail)
    assert forks.fork("gw0-1", PLAIN) is not None
    assert world.vms.given == [None]
