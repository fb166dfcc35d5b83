"""What a run does when a template cannot be made: forks of the base, or booted guests, and a note that says why."""

from __future__ import annotations

import pytest

from lab.errors import BootTimeout, GuestCrashed, GuestHung, ServiceError, SnapshotFailed
from lab.snapshot.fork_request import ForkWish
from lab.snapshot.forks import Forks
from lab.snapshot.template import TemplateWish
from tests.simulated import manifest
from tests.snapshot.fakes import BASE, PLAIN, SYNC, World, expecting, values


@pytest.mark.parametrize("error", [GuestCrashed(0xC0000005, message="a driver crashed in a template"), GuestHung("it hangs")])
@pytest.mark.parametrize("wish", [PLAIN, SYNC])
def test_a_crash_of_the_base_is_reported_and_accuses_no_driver(
    forks: Forks, world: World, error: GuestHung, wish: ForkWish
) -> None:
    world.maker.errors = [error]
    assert forks.fork("gw0-1", wish) is None
    assert forks.figures.notes == [f"no template can be made, so guests are booted: {error.message}"]
    assert world.maker.made == []


def test_a_driver_that_does_not_load_is_left_to_the_test(forks: Forks, world: World) -> None:
    forks.template(PLAIN)
    world.maker.errors = [ServiceError("sc start", 577)]
    guest = forks.fork("gw0-1", SYNC)
    assert guest is not None
    assert guest.loaded == set()
    assert forks.figures.notes == ["sync cannot be loaded in a template: in the guest, `sc start` ended with 577"]
    assert forks.fork("gw0-2", SYNC) is not None  # not tried once more
    assert world.maker.made == [BASE, ()]


def test_a_guest_that_did_not_get_ready_is_tried_once_more(forks: Forks, world: World) -> None:
    world.maker.errors = [BootTimeout("no answer within 300 s")]
    with pytest.raises(BootTimeout):
        forks.fork("gw0-1", PLAIN)
    assert forks.fork("gw0-1", PLAIN) is not None


def test_a_template_that_cannot_be_made_leaves_cold_boots(forks: Forks, world: World) -> None:
    world.maker.errors = [BootTimeout("no answer within 300 s"), BootTimeout("no answer within 300 s")]
    with pytest.raises(BootTimeout):
        forks.fork("gw0-1", PLAIN)
    assert forks.fork("gw0-1", PLAIN) is None
    assert forks.fork("gw0-2", PLAIN) is None
    assert forks.figures.notes == ["no template can be made, so guests are booted: no answer within 300 s"]


@pytest.mark.parametrize("error", [SnapshotFailed("QEMU could not write its state"), OSError(28, "No space left on device")])
def test_a_guest_of_which_no_snapshot_can_be_taken_leaves_cold_boots(forks: Forks, world: World, error: Exception) -> None:
    world.maker.errors = [error]
    assert forks.fork("gw0-1", PLAIN) is None
    assert str(error).splitlines()[0] in forks.figures.notes[0]


def test_prints_that_cannot_be_followed_leave_cold_boots_without_a_try(world: World) -> None:
    world.wish = TemplateWish(**{**values(world.wish), "manifest": manifest(prints={"source": "none"})})
    forks = world.make()
    assert forks.fork("gw0-1", PLAIN) is None
    assert world.maker.made == []
    assert "an image with no print channel cannot be forked: nothing would set the clock" in forks.figures.notes[0]
    forks.close()


@pytest.mark.parametrize(
    ("errors", "note"),
    [
        ([ServiceError("sc start", 577)], "sync cannot be loaded in a template: in the guest, `sc start` ended with 577"),
        (
            [BootTimeout("no answer within 60 s"), BootTimeout("no answer within 60 s")],
            "no template with sync can be made, so each fork gets its own copy of the files: no answer within 60 s",
        ),
        (
            [OSError(28, "No space left on device")],
            "no template with sync can be made, so each fork gets its own copy of the files: [Errno 28] No space left on"
            " device",
        ),
    ],
)
def test_a_template_that_cannot_be_made_beside_the_tests_leaves_forks_of_the_base(
    world: World, errors: list[Exception], note: str
) -> None:
    forks = expecting(world, 9)
    forks.template(ForkWish(1, ("other",)))
    world.maker.errors = errors
    assert forks.fork("gw0-1", SYNC) is not None
    forks._supply._making[SYNC].result(30)
    guest = forks.fork("gw0-2", SYNC)
    forks.close()
    assert guest is not None
    assert guest.loaded == set()
    assert guest.deployed is not None
    assert forks.figures.notes == [note]
    assert world.maker.made == [BASE, ("other",)]
