"""How long a fork is used, and its state for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.plugin.isolation import Isolation
from lab.plugin.markers import Wishes
from lab.snapshot.fork_request import ForkWish
from tests.plugin.conftest import Inner
from tests.simulated import SimulatedSource

TESTS = """
sync = pytest.mark.lab_driver("sync")

@sync
def test_a(reader): assert [r.text for r in reader.read(length=20)] == ["slot A"]
@sync
def test_b(reader): assert [r.text for r in reader.read(length=20)] == ["slot A"]

@sync
class TestC:
    def test_c(self, reader): assert [r.text for r in reader.read(length=20)] == ["slot A"]
    def test_d(self, reader): assert [r.text for r in reader.read(length=20)] == ["slot A"]
"""


@pytest.fixture
def forked(inner: Inner) -> Inner:
    inner.prepare(forks="SimulatedForks()")
    return inner


@pytest.mark.parametrize(
    ("isolation", "guests"),
    [("test", [1, 2, 3, 4]), ("class", [1, 1, 2, 2]), ("module", [1, 1, 1, 1]), ("session", [1, 1, 1, 1])],
)
def test_tests_share_a_fork_according_to_the_isolation(forked: Inner, isolation: str, guests: list[int]) -> None:
    forked.run(TESTS, "--lab-isolation", isolation).assert_outcomes(passed=4)
    used = [forked.test(name).guest_id for name in ("test_a", "test_b", "test_c", "test_d")]
    assert used == [f"master-{number}" for number in guests]
    assert [(t.key, t.forks) for t in forked.report.templates] == [("tsync", guests[-1])]
    assert all(guest.template == "tsync" and guest.boot_s is None for guest in forked.report.guests)


@pytest.mark.parametrize(
    ("isolation", "counts"),
    [
        ("test", {ForkWish(1, ("sync",)): 3, ForkWish(1): 1, ForkWish(2): 1}),
        # One for the tests outside of classes, one for a test that has served no other, one for the class, one of two CPUs.
        ("class", {ForkWish(1, ("sync",)): 3, ForkWish(2): 1}),
        ("session", {ForkWish(1, ("sync",)): 2, ForkWish(2): 1}),
    ],
)
def test_which_forks_a_run_will_ask_for(isolation: str, counts: dict[ForkWish, int], tmp_path: Path) -> None:
    sync = frozenset({"a", "fresh", "c"})
    ids = {name: f"m::{'TestC::' if name == 'c' else ''}{name}" for name in ("a", "plain", "fresh", "c", "two")}
    wishes = {
        node: Wishes(drivers=("sync",) if name in sync else (), fresh=name == "fresh", cpus=2 if name == "two" else None)
        for name, node in ids.items()
    }
    scopes = {"test": {node: node for node in ids.values()}, "session": dict.fromkeys(ids.values(), "session")}
    scopes["class"] = {node: node.rpartition("::")[0] for node in ids.values()}
    assert Isolation(wishes, scopes[isolation]).forks(ids.values(), SimulatedSource(tmp_path)) == counts


def test_a_class_is_the_default(forked: Inner) -> None:
    result = forked.run(TESTS)
    result.assert_outcomes(passed=4)
    assert len(forked.report.guests) == 2
    # The end of a guest after its tests is not shown: with forks there may be as many guests as tests.
    assert "ended:" not in result.stdout.str()
    result.stdout.fnmatch_lines(["2 fork(s) of 1 template(s) on 1 worker(s)"])


def test_a_cold_run_boots_one_guest(forked: Inner) -> None:
    forked.run(TESTS, "--lab-boot", "cold").assert_outcomes(passed=4)
    [guest] = forked.report.guests
    assert guest.boot_s == 0.25
    assert forked.report.templates == []


def test_the_prints_of_the_load_are_in_the_window_as_after_a_load_of_its_own(forked: Inner) -> None:
    tests = """
@pytest.mark.lab_driver("sync")
def test_a(prints, reader):
    reader.read(length=20)
    prints.expect(["SimSync loaded", "read 20"])
    prints.expect_none()

@pytest.mark.lab_driver("sync", reload=False)
def test_b(prints): prints.expect("SimSync loaded")
"""
    alone = ("--lab-isolation", "test", "--lab-out", str(forked.pytester.path / "second"))
    for boot in ("cold", "fork"):
        arguments = ("--lab-boot", boot, "-k", "test_a") if boot == "cold" else alone
        forked.run(tests, *arguments).assert_outcomes(passed=1 if boot == "cold" else 2, deselected=1 if boot == "cold" else 0)


def test_a_fresh_test_gets_a_fork_of_its_own_and_the_next_test_another(forked: Inner) -> None:
    forked.run(
        """
@pytest.mark.lab_fresh
def test_a(guest): pass
def test_b(guest): pass
@pytest.mark.lab_fresh
def test_c(guest): pass
""",
        "--lab-isolation",
        "module",
    ).assert_outcomes(passed=3)
    assert [forked.test(f"test_{name}").guest_id for name in "abc"] == ["master-1", "master-1", "master-2"]


def test_a_crash_replaces_the_fork_within_its_scope(forked: Inner) -> None:
    forked.run(
        """
@pytest.mark.lab_driver("sync")
def test_a(reader): reader.read(length=66)
@pytest.mark.lab_driver("sync")
def test_b(reader): assert reader.read(length=20)[0].text == "slot A"
""",
        "--lab-isolation",
        "session",
    ).stdout.fnmatch_lines(["guest master-1 ended: crash: 0x*"])
    assert forked.verdicts == {"test_a": "crash", "test_b": "passed"}
    assert [forked.test(f"test_{name}").guest_id for name in "ab"] == ["master-1", "master-2"]


def test_a_driver_is_unloaded_after_a_test_that_loads_it_itself(forked: Inner) -> None:
    forked.prepare(forks="SimulatedForks()", changes="source.refuse_stop = True")
    forked.run(
        """
@pytest.mark.lab_driver("sync")
def test_a(driver): pass
@pytest.mark.lab_driver("sync", reload=False)
def test_b(driver): pass
""",
        "--lab-isolation",
        "test",
    )
    assert forked.verdicts == {"test_a": "product", "test_b": "passed"}


def test_a_driver_is_loaded_afresh_only_without_those_that_use_it(forked: Inner) -> None:
    """A test without drivers makes the template's drivers stale; each was reloaded while another driver used it."""
    forked.prepare(forks="SimulatedForks()", changes="source.needs = {'async': ('sync',)}")
    forked.run(
        """
def calls(guest):
    words = [line.split() for line in guest.transport.commands]
    return [tuple(line[1:3]) for line in words if line[1:2] in (["start"], ["stop"])]

@pytest.mark.lab_driver("async")
class TestUpper:
    def test_a(self, guest): assert calls(guest) == []
    def test_b(self, driver, guest):
        assert calls(guest) == [("stop", "SimAsync"), ("stop", "SimSync"), ("start", "SimSync"), ("start", "SimAsync")]

class TestBoth:
    @pytest.mark.lab_driver("async")
    def test_c(self, guest): assert calls(guest) == []
    @pytest.mark.lab_driver("sync")
    def test_d(self, driver, guest):
        assert calls(guest) == [("stop", "SimAsync"), ("stop", "SimSync"), ("start", "SimSync")]
"""
    )
    assert forked.verdicts == dict.fromkeys(("test_a", "test_b", "test_c", "test_d"), "passed")


def test_a_fork_that_does_not_resume_fails_no_test(forked: Inner) -> None:
    forked.prepare(
        forks="SimulatedForks([GuestExited('QEMU ended with exit code 1')])", more="from lab.errors import GuestExited"
    )
    forked.run("def test_a(guest): pass").assert_outcomes(passed=1)
    assert forked.report.failed_forks == 1
    assert forked.report.guests[0].ended == "did not get ready: QEMU ended with exit code 1"


def test_two_forks_that_do_not_resume_cause_a_cold_boot_and_a_note(forked: Inner) -> None:
    forked.prepare(forks="SimulatedForks([GuestExited('QEMU ended')] * 2)", more="from lab.errors import GuestExited")
    forked.run("def test_a(guest): pass\ndef test_b(guest): pass").assert_outcomes(passed=2)
    assert "did not resume" in forked.report.fork_notes[0]
    assert forked.report.guests[2].boot_s == 0.25
    assert forked.test("test_a").guest_id == forked.test("test_b").guest_id


@pytest.mark.parametrize(
    ("boot", "told"), [("fork", ["guests are booted: an image with the print relay cannot be forked"]), ("cold", [])]
)
def test_the_reason_for_a_source_without_forks_is_reported(forked: Inner, boot: str, told: list[str]) -> None:
    forked.prepare(changes="source.no_forks = 'an image with the print relay cannot be forked'")
    forked.run("def test_a(guest): pass", "--lab-boot", boot).assert_outcomes(passed=1)
    assert forked.report.fork_notes == told


def test_workers_take_tests_one_by_one_and_a_dead_one_s_test_is_tried_again(forked: Inner) -> None:
    tests = (
        TESTS
        + """
import os, pathlib, signal
@sync
def test_e(reader):
    if not pathlib.Path("once").exists():
        pathlib.Path("once").touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    forked.run(tests, "-n", "2", "--dist", "loadscope")
    assert forked.test("test_e").attempts == 2
    assert set(forked.verdicts.values()) == {"passed"}
    assert len(forked.verdicts) == 5


@pytest.mark.parametrize(
    ("nodeid", "classes", "scope"),
    [
        ("a/test_x.py::test_a", True, "a/test_x.py"),
        ("a/test_x.py::test_a[x::y]", True, "a/test_x.py"),
        ("a/test_x.py::test_a[x::y]", False, "a/test_x.py::test_a[x::y]"),
        ("a/test_x.py::TestC::test_a[1]", True, "a/test_x.py::TestC"),
        ("a/test_x.py::TestC::test_a[1]", False, "a/test_x.py::TestC::test_a[1]"),
    ],
)
def test_the_scope_by_a_test_s_id(nodeid: str, classes: bool, scope: str) -> None:
    from lab.plugin.schedule import scope_of_id

    assert scope_of_id(nodeid, classes=classes) == scope


@pytest.mark.parametrize(
    ("boot", "prints", "clock", "workers"),
    [
        ("fork", "wine", "real", 4),
        ("fork", "wine", "virtual", 3),
        ("cold", "wine", "virtual", 2),
        ("fork", "relay", "real", 4),
        ("fork", "none", "real", 2),
    ],
)
def test_auto_is_what_the_host_can_run(
    forked: Inner, monkeypatch: pytest.MonkeyPatch, boot: str, prints: str, clock: str, workers: int
) -> None:
    # pytest-xdist asks before plugins are configured; an answer that is registered later comes too late.
    monkeypatch.delenv("PYTEST_XDIST_AUTO_NUM_WORKERS", raising=False)
    forked.pytester.makepyfile(
        early="""
import lab.host.capacity, lab.image.folder, lab.image.store
from types import SimpleNamespace

class Carries:
    def forks(self, memory_mb, *, smp, virtual_clock=False): return 3 if virtual_clock else 4
    def guests(self, memory_mb, *, smp): return 2

lab.host.capacity.measure = Carries
lab.image.store.find_image = lambda name: name
lab.image.folder.read_manifest = lambda folder: SimpleNamespace(
    name="image", kind="wine", machine=SimpleNamespace(memory_mb=768, smp=1), prints=SimpleNamespace(source=PRINTS)
)
import lab.live.resolve  # it imports read_manifest
lab.live.resolve.clock_of = lambda manifest, settings: CLOCK
"""
        f"PRINTS, CLOCK = {prints!r}, {clock!r}"
    )
    # More classes than workers: there are never more workers than there is work for.
    tests = "".join(f"class Test{name}:\n    def test_it(self, guest): pass\n" for name in "ABCDE")
    dist = ("--dist", "loadscope") if boot == "fork" else ()
    result = forked.run(tests, "-p", "early", "-n", "auto", *dist, "--lab-boot", boot)
    result.stdout.fnmatch_lines([f"*{workers} workers*"])


def test_long_pieces_of_the_last_run_come_first_and_those_that_need_the_host_alone_last(forked: Inner) -> None:
    from lab.plugin.schedule import last_seconds

    forked.run(
        """
import time
def test_short(guest): pass
def test_long(guest): time.sleep(0.2)
@pytest.mark.lab_cpus(2)
def test_two(guest): pass
""",
        "--lab-isolation",
        "test",
    ).assert_outcomes(passed=3)
    seconds = {scope.rpartition("::")[2]: value for scope, value in last_seconds(forked.out, classes=False).items()}
    assert sorted(seconds, key=lambda name: -seconds[name]) == ["test_long", "test_short", "test_two"]
    assert seconds["test_two"] < 0
    assert set(last_seconds(forked.out, classes=True)) == {"test_inner.py"}
    assert last_seconds(forked.out / "nowhere", classes=True) == {}
    (forked.out / "run.json").write_text("damaged")
    assert last_seconds(forked.out, classes=True) == {}


@pytest.mark.parametrize(("option", "free"), [((), False), (("--pdb",), True)])
def test_no_other_run_waits_for_a_test_under_a_debugger(
    forked: Inner, monkeypatch: pytest.MonkeyPatch, option: tuple[str, ...], free: bool
) -> None:
    locks = forked.pytester.path / "locks"
    monkeypatch.setenv("LAB_LOCKS", str(locks))
    forked.run(
        f"""
import fcntl, pathlib
def test_a(guest):
    turn = pathlib.Path({str(locks)!r}, "turn")
    free = True
    if turn.exists():
        with turn.open() as file:
            try: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError: free = False
    assert free is {free}
""",
        *option,
    ).assert_outcomes(passed=1)
