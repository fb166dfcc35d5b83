"""A run that announces how many forks it needs: forks of the base, and a template of its own only if that saves time."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from lab.snapshot.fork_request import ForkWish
from lab.snapshot.supply import WORTH_A_TEMPLATE
from lab.toolchain.files import sha256_of
from tests.snapshot.fakes import BASE, PLAIN, SYNC, Beside, World, expecting, self_check, services_of


def test_a_run_of_few_tests_forks_the_base_without_its_own_template(world: World) -> None:
    forks = expecting(world, WORTH_A_TEMPLATE - 1)
    for number in range(WORTH_A_TEMPLATE - 1):
        guest = forks.fork(f"gw0-{number}", SYNC)
        assert guest is not None
        assert guest.loaded == set()
        assert guest.deployed is not None
        assert guest.deployed.sums == world.wish.payload.sums()
        assert [service.state for service in services_of(guest).values()] == ["STOPPED", "STOPPED"]
    forks.close()
    assert world.maker.made == [BASE]
    assert [template.base for template in forks.figures.used.values()] == [True]


def test_a_changed_driver_is_tested_in_a_fork_of_the_same_base(world: World) -> None:
    forks = expecting(world, 1)
    before = forks.fork("gw0-1", SYNC)
    forks.close()
    driver = world.wish.payload.driver("sync")
    image = driver.image.parent / "changed" / driver.image.name
    image.parent.mkdir()
    image.write_bytes(b"another driver")
    changed = replace(driver, image=image, sha256=sha256_of(image))
    world.wish = replace(
        world.wish, payload=replace(world.wish.payload, drivers={**world.wish.payload.drivers, "sync": changed})
    )
    forks = expecting(world, 1)
    after = forks.fork("gw0-1", SYNC)
    forks.close()
    assert world.maker.made == [BASE]
    assert before is not None
    assert after is not None
    assert after.template == before.template
    assert before.deployed is not None
    assert after.deployed is not None
    assert before.deployed.sums[image.name] == driver.sha256
    assert after.deployed.sums[image.name] == changed.sha256


def test_a_template_that_pays_is_made_beside_the_tests(world: World) -> None:
    beside = Beside()
    forks = world.make()
    forks.expect({SYNC: WORTH_A_TEMPLATE}, beside=beside)
    begun = threading.Event()
    world.maker.while_loading = [lambda _base: self_check(begun.wait(30))]
    first = forks.fork("gw0-1", SYNC)  # returns while the template is being made
    begun.set()
    forks._supply._making[SYNC].result(30)
    second = forks.fork("gw0-2", SYNC)
    forks.close()
    assert first is not None
    assert second is not None
    assert first.loaded == set()
    assert second.loaded == {"sync"}
    assert (first.deployed is None, second.deployed is None) == (False, True)
    assert world.maker.made == [BASE, ("sync",)]
    assert beside.entered == 1
    other = expecting(world, 1)  # of the next run
    third = other.fork("gw0-1", SYNC)
    other.close()
    assert third is not None
    assert third.loaded == {"sync"}


def test_no_template_is_made_beside_tests_that_need_the_host_alone(world: World) -> None:
    two = ForkWish(2, ("sync",))
    forks = expecting(world, WORTH_A_TEMPLATE, two)
    first = forks.fork("gw0-1", two)
    forks.close()
    assert first is not None
    assert first.loaded == {"sync"}
    assert forks._supply._making == {}


def test_without_memory_no_template_is_made_beside_the_tests(world: World) -> None:
    world.memory_mb = 500
    forks = expecting(world, 9)
    assert forks.fork("gw0-1", SYNC) is not None
    forks.close()
    assert world.maker.made == [BASE]


@pytest.mark.parametrize("expected", [True, False])
def test_a_run_without_drivers_forks_the_base_as_it_is(world: World, expected: bool) -> None:
    world.wish = world.wish.base()
    forks = expecting(world, 9, PLAIN) if expected else world.make()
    for number in range(2):
        guest = forks.fork(f"gw0-{number}", PLAIN)
        assert guest is not None
        assert guest.deployed is None
    forks.close()
    assert world.maker.made == [BASE]
