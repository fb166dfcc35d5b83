"""Forks of one worker: templates by wish, the spare, and what happens when something does not work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lab.errors import (
    BootTimeout,
    GuestCrashed,
    GuestExited,
    GuestHung,
    GuestRefuses,
    LabError,
    ServiceError,
    SnapshotFailed,
    TransportError,
    WrongBinary,
)
from lab.live.guest import LiveGuest
from lab.live.payload import Payload
from lab.snapshot import forks as forks_module
from lab.snapshot.fork_request import ForkWish
from lab.snapshot.forks import Forks
from lab.snapshot.store import TemplateStore
from lab.snapshot.supply import WORTH_A_TEMPLATE
from lab.snapshot.template import Template, TemplateWish
from lab.toolchain.files import sha256_of
from lab.vm.cleanup import RunFolder
from lab.vm.process import WaitingSupervisor
from tests.simulated import (
    SimulatedDriver,
    SimulatedMachine,
    SimulatedPrints,
    SimulatedSource,
    SimulatedTransport,
    manifest,
)
from tests.snapshot.test_store import fill

PLAIN = ForkWish(1)
SYNC = ForkWish(1, ("sync",))
#: What the maker notes of the template without any file of a run.
BASE = ("base",)


@dataclass
class FakeMaker:
    """Makes templates of a few bytes; ``errors`` are raised by the next ones, one each."""

    made: list[tuple[str, ...]] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    while_loading: list[Callable[[Template], None]] = field(default_factory=list)

    def boot(self, wish: TemplateWish, key: str, folder: Path) -> None:
        self._make(wish, key, folder)

    def derive(self, base: Template, wish: TemplateWish, key: str, folder: Path) -> None:
        assert base.base
        if self.while_loading:
            self.while_loading.pop()(base)
        self._make(wish, key, folder)

    def _make(self, wish: TemplateWish, key: str, folder: Path) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.made.append(BASE if wish.is_base else wish.drivers)
        fill(folder, key, drivers=wish.drivers, image=wish.manifest.name, base=wish.is_base)


class World:
    """Forks whose machines are simulated."""

    def __init__(self, tmp_path: Path) -> None:
        self.maker = FakeMaker()
        self.machines: list[SimulatedMachine] = []
        self.guests: list[LiveGuest] = []
        self.folders: list[Path] = []
        self.closed: list[tuple[str, bool]] = []
        self.fork_errors: list[Exception] = []
        self.wake_errors: list[Exception] = []
        self.memory_mb = 8192
        self.store = TemplateStore(tmp_path / "templates")
        source = SimulatedSource(tmp_path / "payload")
        disk = tmp_path / "image" / "disk.qcow2"
        disk.parent.mkdir()
        disk.write_bytes(b"disk")
        self.wish = TemplateWish(
            image_dir=disk.parent,
            manifest=manifest(),
            payload=source.payload,
            accelerator="tcg",
            qemu="7.2",
            transport="winrm",
            smp=1,
        )
        self.runs_dir = tmp_path / "runs"
        self.source = source

    def make(self, **changes: Any) -> Forks:
        maker: Any = self.maker
        return Forks(
            self.wish,
            self.store,
            maker,
            runs_dir=self.runs_dir,
            on_close=self.on_close,
            memory_mb=lambda: self.memory_mb,
            resume=self.fork,
            connect=self.wake,
            **changes,
        )

    def on_close(self, folder: RunFolder, kept: bool) -> None:
        self.closed.append((folder.path.name.rpartition("-")[0], kept))
        folder.remove()

    def fork(
        self, _snapshot: object, _folder: Path, run_dir: Path, *, name: str, waiting: WaitingSupervisor | None
    ) -> SimulatedMachine:
        del name
        if waiting is not None:
            waiting.close()
        self.folders.append(run_dir)
        if self.fork_errors:
            raise self.fork_errors.pop(0)
        self.machines.append(SimulatedMachine())
        return self.machines[-1]

    def wake(self, machine: SimulatedMachine, template: Template, _wish: TemplateWish, **options: Any) -> Any:
        if self.wake_errors:
            raise self.wake_errors.pop(0)
        prints = SimulatedPrints(machine)
        live = self.source.live(
            options["guest_id"],
            machine,
            prints,
            SimulatedTransport(machine, prints),
            template=template,
            on_close=options["on_close"],
        )
        self.guests.append(live)
        return live


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def forks(world: World) -> Iterator[Forks]:
    made = world.make()
    yield made
    made.close()


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


def test_the_spare_serves_the_next_fork_of_its_wish(forks: Forks, world: World) -> None:
    forks.fork("gw0-1", SYNC)
    forks.prepare("gw0-2", SYNC)
    forks.prepare("gw0-2", SYNC)  # it is on its way
    guest = forks.fork("gw0-2", SYNC)
    assert guest is not None
    assert guest.machine is world.machines[1]
    assert not world.machines[1].paused
    assert len(world.machines) == 2
    guest.close()
    assert world.closed == [("gw0-2", False)]


def test_a_spare_of_another_wish_is_ended(forks: Forks, world: World) -> None:
    forks.fork("gw0-1", SYNC)
    forks.fork("gw0-2", PLAIN)
    forks.prepare("gw0-3", SYNC)
    guest = forks.fork("gw0-3", PLAIN)
    assert guest is not None
    assert [machine.alive for machine in world.machines] == [True, True, False, True]
    assert not world.folders[2].exists()


def test_a_spare_that_died_is_replaced(forks: Forks, world: World) -> None:
    forks.fork("gw0-1", SYNC)
    forks.prepare("gw0-2", SYNC)
    forks._background.submit(lambda: None).result(30)
    assert world.machines[1].paused
    world.machines[1].kill()
    guest = forks.fork("gw0-2", SYNC)
    assert guest is not None
    assert guest.machine is world.machines[2]
    assert forks.figures.failed == 0


def test_a_spare_that_cannot_be_restored_is_no_failure(forks: Forks, world: World) -> None:
    forks.fork("gw0-1", SYNC)
    world.fork_errors.append(GuestExited("QEMU ended"))
    forks.prepare("gw0-2", SYNC)
    guest = forks.fork("gw0-2", SYNC)
    assert guest is not None
    assert guest.alive


def test_whatever_happens_to_a_spare_in_the_background_stays_there(forks: Forks, world: World) -> None:
    forks.fork("gw0-1", SYNC)
    for wish in (SYNC, PLAIN):
        world.wake_errors.append(ValueError("not what was expected"))
        forks.prepare("gw0-2", SYNC)
        guest = forks.fork("gw0-2", wish)
        assert guest is not None
        assert guest.alive


def test_a_spare_that_does_not_end_at_once_is_closed_all_the_same(
    forks: Forks, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill, errors = SimulatedMachine.kill, [GuestExited("QEMU did not end in time")]

    def kill_later(machine: SimulatedMachine) -> None:
        if errors:
            raise errors.pop()
        kill(machine)

    forks.fork("gw0-1", SYNC)
    forks.prepare("gw0-2", SYNC)
    monkeypatch.setattr(SimulatedMachine, "kill", kill_later)
    assert forks.fork("gw0-2", PLAIN) is not None
    assert world.closed == [("gw0-2", False)]
    assert not world.machines[1].alive


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
def test_a_base_that_is_removed_meanwhile_does_not_end_forking(forks: Forks, world: World, error: Exception) -> None:
    def remove(base: Template) -> None:
        world.store.discard(base)
        raise error

    world.maker.while_loading = [remove]
    with pytest.raises(SnapshotFailed, match="was removed while"):
        forks.fork("gw0-1", SYNC)
    assert forks.fork("gw0-1", SYNC) is not None
    assert forks.figures.notes == []


@pytest.mark.parametrize("error", [GuestCrashed(0xC0000005, message="a driver crashed in a template"), GuestHung("it hangs")])
@pytest.mark.parametrize("wish", [PLAIN, SYNC])
def test_a_crash_of_the_base_is_told_and_blames_no_driver(forks: Forks, world: World, error: GuestHung, wish: ForkWish) -> None:
    world.maker.errors = [error]
    assert forks.fork("gw0-1", wish) is None
    assert forks.figures.notes == [f"no template can be made, so guests are booted: {error.message}"]
    assert world.maker.made == []


def test_without_memory_there_is_no_spare(forks: Forks, world: World) -> None:
    forks.fork("gw0-1", SYNC)
    world.memory_mb = 600
    forks.prepare("gw0-2", SYNC)
    assert len(world.machines) == 1


def test_nothing_is_prepared_before_its_template_is_known(forks: Forks, world: World) -> None:
    forks.prepare("gw0-1", SYNC)
    assert world.machines == []


def test_the_end_ends_the_spare(world: World) -> None:
    forks = world.make()
    guest = forks.fork("gw0-1", SYNC)
    forks.prepare("gw0-2", SYNC)
    forks.close()
    forks.close()
    forks.prepare("gw0-3", SYNC)
    assert [machine.alive for machine in world.machines] == [True, False]
    assert not world.folders[1].exists()
    assert guest is not None
    guest.close()


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
    world.wish = TemplateWish(**{**_values(world.wish), "manifest": manifest(prints={"source": "kd"})})
    forks = world.make()
    assert forks.fork("gw0-1", PLAIN) is None
    assert world.maker.made == []
    assert "an image with the kernel debugger's port cannot be forked yet" in forks.figures.notes[0]
    forks.close()


def failing(forks: Forks, world: World, errors: int) -> Callable[[], None]:
    def once() -> None:
        world.wake_errors = [GuestExited("QEMU ended with exit code 1") for _ in range(errors)]
        for _ in range(errors):
            with pytest.raises(LabError):
                forks.fork("gw0-1", SYNC)
        forks.distrust(SYNC, "QEMU ended with exit code 1")

    return once


def test_a_fork_that_does_not_wake_is_counted_and_leaves_nothing(forks: Forks, world: World) -> None:
    world.wake_errors = [GuestExited("QEMU ended")]
    with pytest.raises(GuestExited):
        forks.fork("gw0-1", SYNC)
    assert forks.figures.failed == 1
    assert [machine.alive for machine in world.machines] == [False]
    assert world.closed == [("gw0-1", False)]
    assert not world.folders[0].exists()


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
    world.wake_errors = [GuestExited("1"), GuestExited("2")]
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


@pytest.mark.parametrize("error", [TransportError("the copy failed"), GuestRefuses("no drive Q:")])
def test_a_delivery_that_fails_costs_no_template(world: World, monkeypatch: pytest.MonkeyPatch, error: LabError) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise error.anew()

    monkeypatch.setattr(forks_module, "deploy", refuse)
    forks = expecting(world, 1)
    for _ in range(2):
        with pytest.raises(type(error)):
            forks.fork("gw0-1", SYNC)
    forks.distrust(SYNC, error.message)
    assert [template.base for template in world.store.all()] == [True]
    assert forks.figures.failed == (0 if isinstance(error, GuestRefuses) else 2)
    assert forks.figures.notes == [f"files could not be copied into forks ({error.message}), so a guest was booted instead"]
    forks.close()


def test_what_a_manifest_says_wrong_does_not_come_into_a_fork_of_the_base_either(forks: Forks, world: World) -> None:
    assert forks.template(PLAIN) is not None
    world.maker.errors = [GuestRefuses("no drive Q:")]
    with pytest.raises(GuestRefuses):
        forks.fork("gw0-1", SYNC)
    assert forks.figures.notes == []


def test_the_key_follows_from_all_that_a_template_is_made_of(world: World, tmp_path: Path) -> None:
    wish = world.wish
    other_client = Payload(drivers=wish.payload.drivers, clients={"drvprobe": tmp_path / "other.exe"})
    (tmp_path / "other.exe").write_bytes(b"other")
    keys = [
        wish.key,
        wish.of(smp=2, drivers=()).key,
        wish.of(smp=1, drivers=("sync",)).key,
        TemplateWish(**{**_values(wish), "qemu": "8.2"}).key,
        TemplateWish(**{**_values(wish), "transport": "ssh"}).key,
        TemplateWish(**{**_values(wish), "accelerator": "kvm"}).key,
        TemplateWish(**{**_values(wish), "payload": other_client}).key,
        TemplateWish(**{**_values(wish), "manifest": manifest(key="4567")}).key,
    ]
    (wish.image_dir / "disk.qcow2").write_bytes(b"built anew")
    keys.append(wish.key)
    assert len(set(keys)) == len(keys)
    assert wish.key == wish.key


def test_a_template_whose_guest_had_other_files_is_made_anew(world: World) -> None:
    """A file that was changed between its hash and its copy came back in every later run, under the hash of the first."""
    key = world.wish.key
    sums = world.wish.payload.sums()
    for files, made in (({**sums, "sim.sys": "00" * 32}, [BASE, ()]), (sums, [])):
        world.store.prune()
        world.store.make("wine", key, partial(fill, key=key, files=files))
        world.maker.made.clear()
        forks = world.make()
        assert forks.template(PLAIN) is not None
        assert world.maker.made == made
        forks.close()


def test_the_key_is_that_of_the_copy_whatever_becomes_of_the_original(tmp_path: Path, world: World) -> None:
    original = tmp_path / "original.sys"
    driver = world.wish.payload.driver("sync")
    original.write_bytes(driver.image.read_bytes())
    copied = Payload(drivers={"sync": replace(driver, origin=original)}, clients=world.wish.payload.clients)
    wish = replace(world.wish, payload=copied)
    key = wish.key
    original.write_bytes(b"built anew while the guest boots")
    assert wish.key == key
    staged = copied.stage(tmp_path / "stage")
    assert (staged / driver.image.name).read_bytes() == driver.image.read_bytes()


def expecting(world: World, count: int, wish: ForkWish = SYNC) -> Forks:
    """Forks of a run that says what it will ask for."""
    forks = world.make()
    forks.expect({wish: count}, beside=nullcontext)
    return forks


def test_a_run_of_few_tests_forks_the_base_and_makes_no_template_of_its_own(world: World) -> None:
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


def test_nothing_is_made_beside_tests_that_have_the_machine_to_themselves(world: World) -> None:
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


def test_a_spare_of_the_base_has_the_files_before_it_is_wanted(world: World) -> None:
    forks = expecting(world, 2)
    forks.fork("gw0-1", SYNC)
    forks.prepare("gw0-2", SYNC)
    forks._background.submit(lambda: None).result(30)
    assert len(services_of(world.guests[1])) == 2
    guest = forks.fork("gw0-2", SYNC)
    forks.close()
    assert guest is world.guests[1]


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


def test_a_fork_that_got_other_files_is_ended(world: World) -> None:
    forks = expecting(world, 1)
    driver = world.wish.payload.driver("sync")
    driver.image.write_bytes(b"written into the run's folder")
    with pytest.raises(WrongBinary):
        forks.fork("gw0-1", SYNC)
    forks.close()
    assert forks.figures.failed == 1
    assert [machine.alive for machine in world.machines] == [False]
    assert world.closed == [("gw0-1", False)]


class Beside:
    """Counts how often it is entered."""

    def __init__(self) -> None:
        self.entered = 0

    def __call__(self) -> AbstractContextManager[None]:
        self.entered += 1
        return nullcontext()


def self_check(held: bool) -> None:
    assert held


def services_of(guest: LiveGuest) -> dict[str, SimulatedDriver]:
    assert isinstance(guest.transport, SimulatedTransport)
    return guest.transport.services


def _values(wish: TemplateWish) -> dict[str, Any]:
    return {name: getattr(wish, name) for name in TemplateWish.__slots__}
