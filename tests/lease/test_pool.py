"""One worker's guests: booted when needed, replaced when unusable, and recorded from boot to end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import BootTimeout, GuestError, GuestExited, GuestRefuses, HostToolError, LabError
from lab.lease.life import GuestLife
from lab.lease.pool import GuestPool
from lab.lease.starter import GuestStarter
from lab.live.guest import LiveGuest
from lab.snapshot.fork_request import ForkFigures, ForkWish
from tests.simulated import SimulatedSource
from tests.simulated_guest import SimulatedMachine, SimulatedTransport

MakePool = Callable[..., GuestPool]


@pytest.fixture
def source(tmp_path: Path) -> SimulatedSource:
    return SimulatedSource(tmp_path / "payload")


@pytest.fixture
def lives() -> list[GuestLife]:
    return []


@pytest.fixture
def pool(source: SimulatedSource, lives: list[GuestLife]) -> GuestPool:
    return GuestPool(GuestStarter(source, "gw0", on_change=lambda life: lives.append(replace(life))))


def test_the_first_guest_is_booted_when_it_is_needed(pool: GuestPool, source: SimulatedSource, lives: list[GuestLife]) -> None:
    assert pool.current is None
    assert source.guests == []
    lease = pool.acquire()
    assert lease.guest is source.guests[0]
    assert lease.life.guest_id == "gw0-1"
    [life] = lives
    assert life.boot_s == 0.25
    assert life.copy_s is not None
    assert [record.text for record in life.attribution.boot] == ["a print of the boot"]


def test_a_guest_gets_all_files_and_services_before_its_first_test(pool: GuestPool, source: SimulatedSource) -> None:
    transport = pool.acquire().guest.transport
    assert isinstance(transport, SimulatedTransport)
    assert transport.files == ["drvprobe.exe", "other.sys", "sim.sys", "sim_reader.exe"]
    assert {name: driver.state for name, driver in transport.services.items()} == {"SimSync": "STOPPED", "SimAsync": "STOPPED"}
    programs = [command.split()[0].rpartition("\\")[2] for command in transport.commands]
    assert programs == ["labfile.exe", "sc.exe", "sc.exe"]


def test_a_sound_guest_serves_again(pool: GuestPool, source: SimulatedSource) -> None:
    assert pool.acquire() is pool.acquire()
    assert len(source.guests) == 1


@pytest.mark.parametrize("reason", ["crash: 0xC0000005 in test_a", "hang: it hung"])
def test_a_condemned_guest_is_replaced(pool: GuestPool, source: SimulatedSource, lives: list[GuestLife], reason: str) -> None:
    first = pool.acquire()
    first.condemn(reason)
    first.condemn("another reason")
    assert not pool.fits()
    assert pool.acquire() is not first
    assert not source.guests[0].alive
    assert lives[1].ended == reason


def test_a_dead_guest_is_replaced(pool: GuestPool, source: SimulatedSource, lives: list[GuestLife]) -> None:
    first = pool.acquire()
    first.guest.machine.kill()
    assert pool.acquire() is not first
    assert lives[1].ended == "exited: the simulated QEMU was killed by signal 9"


def test_more_processors_need_another_guest(pool: GuestPool, lives: list[GuestLife]) -> None:
    pool.acquire()
    assert pool.fits()
    assert not pool.fits(smp=2)
    assert pool.acquire(smp=2).guest.smp == 2
    assert lives[1].ended == "replaced: a test needs 2 virtual CPU(s)"


def test_a_guest_is_fresh_until_it_has_served(pool: GuestPool) -> None:
    first = pool.acquire(fresh=True)
    assert pool.acquire(fresh=True) is first
    first.ledger.open("test_a")
    first.ledger.close()
    assert pool.acquire() is first
    assert pool.acquire(fresh=True) is not first


def test_the_prints_of_a_guest_are_accounted_for_at_its_end(pool: GuestPool, lives: list[GuestLife]) -> None:
    lease = pool.acquire()
    lease.ledger.open("test_a")
    lease.guest.prints.say("in a test")  # type: ignore[attr-defined]
    lease.ledger.close()
    lease.guest.prints.say("in none")  # type: ignore[attr-defined]
    pool.close()
    pool.close()
    account = lives[-1].attribution
    assert (len(account.boot), account.assigned, [record.text for record in account.unattributed]) == (1, 1, ["in none"])
    assert lives[-1].ended == "end of run"


def test_a_boot_that_fails_once_is_tried_again(pool: GuestPool, source: SimulatedSource, lives: list[GuestLife]) -> None:
    source.boot_errors = [BootTimeout("too slow\nconsole:\n  line")]
    assert pool.acquire().life.guest_id == "gw0-2"
    assert pool.failed_boots == 1
    assert lives[0].ended == "did not get ready: too slow"


def test_after_two_failures_no_boot_is_tried_any_more(pool: GuestPool, source: SimulatedSource) -> None:
    source.boot_errors = [BootTimeout("too slow"), BootTimeout("still too slow")]
    with pytest.raises(BootTimeout, match="still too slow"):
        pool.acquire()
    with pytest.raises(GuestError, match="an earlier boot failed: still too slow"):
        pool.acquire()
    assert source.guests == []


def test_a_missing_tool_is_not_worth_a_second_try(pool: GuestPool, source: SimulatedSource) -> None:
    source.boot_errors = [HostToolError(["qemu"], None, message="qemu: no such program")]
    with pytest.raises(HostToolError):
        pool.acquire()
    assert pool.failed_boots == 1


def test_a_guest_that_cannot_be_prepared_is_ended(
    pool: GuestPool, source: SimulatedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: SimulatedTransport, source: Path, target: str, *, timeout: float = 300) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SimulatedTransport, "put", fail)
    with pytest.raises(KeyboardInterrupt):
        pool.acquire()
    assert not source.guests[0].alive


@pytest.mark.parametrize(
    ("keep", "failures", "kept"), [("never", 1, False), ("failed", 0, False), ("failed", 1, True), ("always", 0, True)]
)
def test_guests_can_be_kept(source: SimulatedSource, keep: str, failures: int, kept: bool) -> None:
    pool = GuestPool(GuestStarter(source, "gw0"), keep=keep)  # type: ignore[arg-type]
    lease = pool.acquire()
    for _failure in range(failures):
        lease.note_failure()
    killed: list[bool] = []
    machine = lease.guest.machine
    assert isinstance(machine, SimulatedMachine)
    plain = machine.kill

    def kill() -> None:
        killed.append(True)
        plain()

    machine.kill = kill  # type: ignore[method-assign]
    pool.close()
    assert (pool.kept is lease.guest) == kept
    assert bool(killed) != kept
    assert lease.life.kept_as == ("gw0-1" if kept else "")
    ways = "; it runs on: `lab shell gw0-1` opens it, `lab down gw0-1` ends it"
    assert lease.life.ended == "end of run" + (ways if kept else "")


def test_a_dead_guest_is_never_kept(source: SimulatedSource) -> None:
    pool = GuestPool(GuestStarter(source, "gw0"), keep="always")
    pool.acquire().guest.machine.kill()
    pool.close()
    assert pool.kept is None


class FakeForks:
    """Forks by the simulated source."""

    def __init__(self, source: SimulatedSource) -> None:
        self.source = source
        self.errors: list[LabError] = []
        self.gone = False
        self.wishes: list[ForkWish] = []
        self.prepared: list[tuple[str, ForkWish]] = []
        self.expected: dict[ForkWish, int] = {}
        self.distrusted: list[ForkWish] = []
        self.closed = False
        self.figures = ForkFigures()

    def fork(self, guest_id: str, wish: ForkWish) -> LiveGuest | None:
        self.wishes.append(wish)
        if self.errors:
            raise self.errors.pop(0)
        if self.gone:
            return None
        guest = self.source.boot(guest_id, smp=wish.smp)
        guest.template, guest.loaded = "k1", frozenset(wish.drivers)
        return guest

    def expect(self, counts: Mapping[ForkWish, int], *, beside: Callable[[], AbstractContextManager[None]]) -> None:
        self.expected = dict(counts)

    def prepare(self, guest_id: str, wish: ForkWish) -> None:
        self.prepared.append((guest_id, wish))

    def distrust(self, wish: ForkWish, reason: str) -> None:
        self.distrusted.append(wish)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def fake(source: SimulatedSource) -> FakeForks:
    return FakeForks(source)


@pytest.fixture
def forking(source: SimulatedSource, fake: FakeForks, lives: list[GuestLife]) -> GuestPool:
    return GuestPool(GuestStarter(source, "gw0", forks=fake, on_change=lambda life: lives.append(replace(life))))


def test_a_fork_is_taken_for_a_scope_and_serves_no_other(forking: GuestPool, fake: FakeForks, lives: list[GuestLife]) -> None:
    lease = forking.acquire(drivers=["sync"], scope="a")
    assert fake.wishes == [ForkWish(1, ("sync",))]
    assert (lives[0].fork_s, lives[0].boot_s, lives[0].copy_s, lives[0].template) == (0.25, None, None, "k1")
    assert lease.loaded == {"sync"}
    assert forking.acquire(drivers=["async"], scope="a") is lease
    assert not forking.fits(scope="b")
    assert forking.acquire(scope="b") is not lease
    assert lives[1].ended == "replaced: isolation"


def test_a_driver_of_a_fork_is_fresh_until_a_second_test_begins(forking: GuestPool) -> None:
    lease = forking.acquire(drivers=["sync"], scope="a")
    lease.ledger.open("test_a")
    assert lease.freshly_loaded("sync")
    assert not lease.freshly_loaded("async")
    lease.ledger.close()
    lease.ledger.open("test_b")
    assert not lease.freshly_loaded("sync")


def test_a_fork_that_does_not_resume_is_tried_once_more(forking: GuestPool, fake: FakeForks, lives: list[GuestLife]) -> None:
    fake.errors = [GuestExited("QEMU ended with exit code 1")]
    lease = forking.acquire()
    assert lease.guest.template == "k1"
    assert lives[0].ended == "did not get ready: QEMU ended with exit code 1"
    assert fake.distrusted == []
    assert lease.life.guest_id == "gw0-2"


def test_a_guest_is_booted_when_two_forks_did_not_resume(forking: GuestPool, fake: FakeForks) -> None:
    fake.errors = [GuestExited("QEMU ended"), BootTimeout("no answer")]
    lease = forking.acquire(drivers=["sync"], scope="a")
    assert lease.guest.template == ""
    assert fake.distrusted == [ForkWish(1, ("sync",))]
    # A booted guest is too expensive to be replaced for isolation.
    assert forking.acquire(scope="b") is lease


@pytest.mark.parametrize("where", ["fork", "boot"])
def test_a_wrong_manifest_costs_neither_template_nor_boots(
    forking: GuestPool, fake: FakeForks, source: SimulatedSource, where: str
) -> None:
    """With an unknown drive in `to`, two forks and two boots were tried, and the shared template was removed."""
    refused = GuestRefuses("the guest does not accept Q:\\t.bin", file="driver.yaml", key="files.0.to", line=5)
    fake.gone = where == "boot"
    fake.errors = [] if fake.gone else [refused]
    source.boot_errors = [refused]
    for _test in range(2):
        with pytest.raises(GuestRefuses, match=r"^driver\.yaml:5: files\.0\.to: the guest does not accept"):
            forking.acquire(drivers=["sync"])
    assert (len(fake.wishes), fake.distrusted) == (1, [])
    assert source.boot_errors == ([] if fake.gone else [refused])
    assert source.guests == []


def test_a_guest_is_booted_where_there_is_no_template(forking: GuestPool, fake: FakeForks, lives: list[GuestLife]) -> None:
    fake.gone = True
    assert forking.acquire().guest.template == ""
    assert [life.guest_id for life in lives] == ["gw0-1"]


def test_a_prepared_fork_has_the_name_of_the_next_guest(forking: GuestPool, fake: FakeForks) -> None:
    forking.acquire(scope="a")
    forking.prepare(drivers=["sync"])
    assert fake.prepared == [("gw0-2", ForkWish(1, ("sync",)))]
    assert forking.acquire(scope="b").life.guest_id == "gw0-2"
    forking.close()
    assert fake.closed
