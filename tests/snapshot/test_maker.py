"""Templates are made step by step; a step that fails leaves no VM, no folder, no lock and no memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from filelock import FileLock

from lab.errors import (
    BootTimeout,
    GuestCrashed,
    GuestExited,
    GuestHung,
    LabError,
    ServiceError,
    SnapshotFailed,
    TransportError,
)
from lab.prints.resume import PrintsState
from lab.snapshot.forks import Forks
from lab.snapshot.template import TemplateWish
from lab.vm.qmp import CommandRefused
from tests.simulated import manifest
from tests.snapshot.fakes import PLAIN, SYNC, World, values
from tests.snapshot.making import SimulatedSteps, guest_ram_in_memory

BOOTED = ["check", "boot", "park", "idle", "mark", "hang up", "snapshot", "release"]
DERIVED = ["copy", "resume", "deploy", "park", "idle", "mark", "hang up", "snapshot", "release"]


@pytest.fixture
def steps(world: World) -> SimulatedSteps:
    return SimulatedSteps(world.source)


@pytest.fixture
def forks(world: World, steps: SimulatedSteps) -> Iterator[Forks]:
    made = world.make(steps.maker())
    yield made
    made.close()


def nothing_is_left(world: World, steps: SimulatedSteps, *published: str) -> None:
    """No VM runs, no memory is held, the makers' lock is free, and the folder holds only published templates."""
    assert not any(machine.alive for machine in steps.machines)
    assert guest_ram_in_memory() == 0
    with FileLock(world.store.folder / ".simulated.lock", timeout=0):
        pass
    kept = sorted(path.name for path in world.store.folder.iterdir() if path.name not in (".simulated.lock", ".lock"))
    assert [name.partition("-")[0] for name in kept] == list(published)


def test_a_base_template_is_a_parked_idle_guest_between_two_prints(world: World, steps: SimulatedSteps) -> None:
    """Work that a guest has not finished before its snapshot is repeated in each fork."""
    world.wish = world.wish.base()
    forks = world.make(steps.maker())
    template = forks.template(PLAIN)
    forks.close()
    assert template is not None
    assert template.base
    assert steps.done == BOOTED
    assert (template.parked, template.prints) == (
        {"shell": "S"},
        PrintsState(numbers={"next_line": 1}, texts={"last": "print"}),
    )
    assert world.store.find(template.key) == template
    assert template.prints_state().replay == b""
    assert (template.folder / "serial0.log").read_bytes() == b"simulated console\n"
    nothing_is_left(world, steps, "simulated")


def test_a_template_of_a_run_has_its_files_and_its_drivers_loaded(forks: Forks, world: World, steps: SimulatedSteps) -> None:
    template = forks.template(SYNC)
    assert template is not None
    assert steps.done == [*BOOTED, *DERIVED]
    assert (template.drivers, template.base) == (("sync",), False)
    assert template.files == world.wish.payload.sums()
    assert template.prints_state().replay == b"simulated prints\n"  # those of the load, for tests that need a fresh load
    nothing_is_left(world, steps, "simulated", "simulated")


def test_a_guest_that_does_not_get_idle_still_becomes_a_template(forks: Forks, steps: SimulatedSteps) -> None:
    steps.gets_idle = False
    assert forks.template(SYNC) is not None
    assert "the guest does not become idle, so each fork begins with its remaining work: 5 s waited" in steps.said


def test_a_vm_that_cannot_be_forked_is_not_booted_for_a_template(forks: Forks, world: World, steps: SimulatedSteps) -> None:
    steps.errors["check"] = [SnapshotFailed("guests of simulated cannot be forked: the TPM keeps its state outside")]
    assert forks.fork("gw0-1", SYNC) is None
    assert forks.fork("gw0-2", SYNC) is None
    assert steps.done == ["check"]
    assert forks.figures.notes == [
        "no template can be made, so guests are booted: guests of simulated cannot be forked: the TPM keeps its state outside"
    ]
    nothing_is_left(world, steps)


def asked_for_a_fork(forks: Forks, world: World, steps: SimulatedSteps) -> None:
    """As the pool does: one more try after an error, and then none."""
    try:
        assert forks.fork("gw0-1", SYNC) is None
    except LabError:
        nothing_is_left(world, steps)
    assert forks.fork("gw0-1", SYNC) is None
    nothing_is_left(world, steps)


WORTH_A_RETRY = [
    pytest.param("boot", GuestExited("QEMU ended with exit code 1: could not load the firmware"), id="boot dies in firmware"),
    pytest.param("boot", BootTimeout("the guest answered no command within 300 s"), id="boot takes too long"),
    pytest.param("park", TransportError("the waiting cmd has ended with 1"), id="park's shell fails"),
    pytest.param("park", GuestHung("the waiting cmd does not answer"), id="park's shell hangs"),
    pytest.param("snapshot", GuestExited("QEMU was killed by signal 9"), id="QEMU dies while it writes its state"),
]


@pytest.mark.parametrize(("step", "error"), WORTH_A_RETRY)
def test_a_guest_that_fails_once_is_booted_once_more(
    forks: Forks, world: World, steps: SimulatedSteps, step: str, error: LabError
) -> None:
    steps.errors[step] = [error]
    assert forks.template(SYNC) is not None
    assert steps.done.count("boot") == 2
    assert f"the guest did not get ready; trying once more: {error.message}" in steps.said
    assert forks.figures.notes == []
    nothing_is_left(world, steps, "simulated", "simulated")


@pytest.mark.parametrize(("step", "error"), WORTH_A_RETRY)
def test_a_guest_that_fails_again_and_again_leaves_nothing_and_guests_are_booted(
    forks: Forks, world: World, steps: SimulatedSteps, step: str, error: LabError
) -> None:
    steps.errors[step] = [error.anew() for _ in range(4)]
    asked_for_a_fork(forks, world, steps)
    assert forks.figures.notes == [f"no template can be made, so guests are booted: {error.message}"]


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("snapshot", SnapshotFailed("QEMU could not write its state: No space left on device")),
        ("snapshot", CommandRefused("migrate", "GenericError", "State blocked by non-migratable device")),
        ("snapshot", OSError(28, "No space left on device")),
        ("mark", GuestCrashed(0x50, message="a driver crashed in a template")),
    ],
)
def test_a_snapshot_that_cannot_be_taken_leaves_nothing_and_guests_are_booted(
    forks: Forks, world: World, steps: SimulatedSteps, step: str, error: Exception
) -> None:
    steps.errors[step] = [error, error, error, error]
    asked_for_a_fork(forks, world, steps)
    (note,) = forks.figures.notes
    assert note.startswith("no template can be made, so guests are booted: ")
    assert str(error).splitlines()[0] in note


def test_a_guest_that_prints_all_the_time_cannot_become_a_template(forks: Forks, world: World, steps: SimulatedSteps) -> None:
    steps.prints_all_the_time = True
    assert forks.fork("gw0-1", SYNC) is None
    assert "no snapshot can be taken between two prints, because the guest prints all the time" in forks.figures.notes[0]
    assert steps.waited_s == pytest.approx(40, rel=0.1)
    nothing_is_left(world, steps)


@pytest.mark.parametrize(
    ("step", "error", "note"),
    [
        ("copy", GuestExited("QEMU ended with exit code 1"), "no template with sync can be made"),
        ("resume", CommandRefused("cont", "GenericError", "Resetting the VM is required"), "no template with sync can be made"),
        ("resume", TransportError("the guest's print agent does not answer"), "no template with sync can be made"),
        ("deploy", TransportError("the copy failed"), "no template with sync can be made"),
        ("load", ServiceError("sc start", 577), "sync cannot be loaded in a template"),
        ("park", TransportError("the waiting cmd has ended with 1"), "no template with sync can be made"),
    ],
)
def test_a_template_that_cannot_be_made_from_the_base_leaves_the_base(
    forks: Forks, world: World, steps: SimulatedSteps, step: str, error: LabError, note: str
) -> None:
    forks.expect({SYNC: 1}, beside=lambda: pytest.fail("nothing is made beside the tests"))
    first = forks.fork("gw0-1", SYNC)
    assert first is not None
    steps.errors[step] = [error.anew(), error.anew()]
    for _ in range(2):
        try:
            template = forks.template(SYNC)
        except type(error):
            nothing_is_left(world, steps, "simulated")
    assert template is not None
    assert template.base
    assert note in forks.figures.notes[0]
    nothing_is_left(world, steps, "simulated")


def test_a_template_of_a_debugged_guest_is_booted_with_its_debugger(world: World, steps: SimulatedSteps) -> None:
    steps.debug = "kd"
    world.wish = TemplateWish(**{**values(world.wish.base()), "manifest": manifest(prints={"source": "kd"})})
    forks = world.make(steps.maker())
    assert forks.template(PLAIN) is not None
    forks.close()
