"""Whole inner pytest runs against simulated guests: every way in which a test can end gets its own verdict."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest


def test_a_run_that_passes(inner: Any) -> None:
    result = inner.run(
        """
pytestmark = pytest.mark.lab_driver("sync")

def test_reads(driver, reader, prints):
    assert [r.text for r in reader.read(length=20, times=5)] == [f"slot {c}" for c in "ABCDE"]
    prints.expect(["SimSync loaded"] + ["read 20"] * 5)
    prints.expect_none()
    assert driver.state().name == "RUNNING"

def test_counter_starts_again(reader):
    assert reader.read(length=20)[0].text == "slot A"

@pytest.mark.lab_driver("sync", reload=False)
def test_kept(reader):
    assert reader.read(length=20)[0].text == "slot B"

@pytest.mark.lab_driver("sync", reload=False)
def test_kept_again(reader):
    assert reader.read(length=20)[0].text == "slot C"

def test_client(client, prints):
    assert client("sim_reader").check().text.startswith("read slot A")
    prints.expect(["SimSync loaded", "read 20"])
"""
    )
    result.assert_outcomes(passed=5)
    assert result.ret == 0
    report = inner.report
    assert set(inner.verdicts.values()) == {"passed"}
    assert report.exit_code == 0
    assert report.guest == "simulated guest: no operating system at all"
    assert len(report.guests) == 1
    assert report.guests[0].ended == "end of run"
    assert [entry.text for entry in report.guests[0].boot_prints] == ["a print of the boot"]
    assert report.unattributed_prints == 0
    assert [entry.text for entry in inner.test("test_reads").prints] == ["SimSync loaded"] + ["read 20 \n"] * 5
    assert (inner.out / "report.html").is_file()
    result.stdout.fnmatch_lines(
        ["*driver test lab*", "simulated guest: no operating system at all; tcg*", "verdicts: 5 passed"]
    )


def test_a_wrong_answer_of_the_driver_is_product_and_shows_its_prints(inner: Any) -> None:
    result = inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_wrong(reader):
    assert reader.read(length=20)[0].text == "slot Z"

@pytest.mark.lab_driver("sync")
def test_after(reader):
    assert reader.read(length=20)[0].text == "slot A"
"""
    )
    result.assert_outcomes(passed=1, failed=1)
    assert inner.verdicts == {"test_wrong": "product", "test_after": "passed"}
    result.stdout.fnmatch_lines(["*- kernel prints -*", "*SimSync loaded", "*read 20"])
    assert inner.report.exit_code == 1
    assert len(inner.report.guests) == 1


def test_a_print_that_does_not_come_is_product(inner: Any) -> None:
    inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_wrong(reader, prints):
    reader.read(length=20)
    prints.expect(["SimSync loaded", "read 21"], timeout=0.1)
"""
    )
    entry = inner.test("test_wrong")
    assert entry.verdict == "product"
    assert "kernel print 2 is 'read 20', not 'read 21'" in entry.reason


def test_a_driver_fault_is_a_crash_and_the_next_test_has_a_fresh_guest(inner: Any) -> None:
    result = inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_fault(reader):
    reader.read(length=66)

@pytest.mark.lab_driver("sync")
def test_after(reader):
    assert reader.read(length=20)[0].text == "slot A"
"""
    )
    assert inner.verdicts == {"test_fault": "crash", "test_after": "passed"}
    entry = inner.test("test_fault")
    assert entry.fault is not None
    assert entry.fault.code == "0xC0000005"
    assert entry.fault.driver == "sync"
    assert [guest.ended.split(" in ")[0] for guest in inner.report.guests] == ["crash: 0xC0000005", "end of run"]
    assert inner.report.exit_code == 3
    assert result.ret == 1
    result.stdout.fnmatch_lines(["crash: test_inner.py::test_fault:*0xC0000005*"])


def test_a_fault_between_two_tests_is_not_lost(inner: Any) -> None:
    inner.prepare(
        more="""
@pytest.hookimpl(trylast=True)
def pytest_runtest_logfinish(nodeid):
    if nodeid.endswith("test_one"):
        SOURCES[0].guests[0].prints.fault()
"""
    )
    inner.run(
        """
pytestmark = pytest.mark.lab_driver("sync")

def test_one(reader):
    pass

def test_two(reader):
    pass

def test_three(reader):
    pass
"""
    )
    assert inner.verdicts == {"test_one": "passed", "test_two": "crash", "test_three": "passed"}
    reason = inner.test("test_two").reason
    assert reason.startswith("before this test did anything, after the test before it (test_inner.py::test_one): driver fault")


def test_an_expected_fault_passes_and_a_missing_one_is_product(inner: Any) -> None:
    inner.run(
        """
pytestmark = [pytest.mark.lab_driver("sync"), pytest.mark.lab_expect_fault(0xC0000005)]

def test_faults(reader):
    reader.read(length=66)

def test_prints(reader, prints):
    reader.read(length=66)
    prints.expect(["SimSync loaded", "read 66"])
    prints.drain()

def test_does_not(reader):
    reader.read(length=20)
"""
    )
    assert inner.verdicts == {"test_faults": "passed", "test_prints": "passed", "test_does_not": "product"}


def test_a_killed_machine_is_infra_and_the_worker_goes_on(inner: Any) -> None:
    inner.run(
        """
pytestmark = pytest.mark.lab_driver("sync")

def test_killed(reader):
    reader.read(length=99)

def test_killed_unnoticed(guest, driver):
    guest.machine.kill()

def test_after(reader):
    assert reader.read(length=20)[0].text == "slot A"
"""
    )
    assert inner.verdicts == {"test_killed": "infra", "test_killed_unnoticed": "infra", "test_after": "passed"}
    assert [guest.ended.split(":")[0] for guest in inner.report.guests] == ["exited", "exited", "end of run"]
    assert inner.report.exit_code == 10


def test_a_gap_in_the_prints_is_infra_even_if_the_test_passes(inner: Any) -> None:
    result = inner.run(
        """
pytestmark = pytest.mark.lab_driver("sync")

def test_gap(reader):
    reader.read(length=88)

def test_after(reader):
    reader.read(length=20)
"""
    )
    assert inner.verdicts == {"test_gap": "infra", "test_after": "passed"}
    assert result.ret == 1
    assert inner.report.guests[0].ended.startswith("lost evidence")


def test_a_hanging_client_is_product_when_the_guest_still_answers(inner: Any) -> None:
    inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_hang(reader):
    reader.read(length=77)
"""
    )
    assert inner.verdicts == {"test_hang": "product"}
    assert inner.report.guests[0].ended.startswith("hang")


def test_a_driver_that_does_not_load_is_product(inner: Any) -> None:
    inner.prepare("source.refuse_start = True")
    inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_load(driver):
    pass
"""
    )
    entry = inner.test("test_load")
    assert entry.verdict == "product"
    assert "577" in entry.reason


def test_a_driver_that_does_not_unload_is_product_and_the_guest_is_replaced(inner: Any) -> None:
    inner.prepare("source.refuse_stop = True")
    inner.run(
        """
pytestmark = pytest.mark.lab_driver("sync")

def test_first(driver):
    pass

def test_second(driver):
    pass
"""
    )
    assert inner.verdicts == {"test_first": "product", "test_second": "product"}
    assert [guest.ended.split(":")[0] for guest in inner.report.guests] == ["driver sync did not unload"] * 2


def test_a_client_that_deletes_the_service_is_a_mistake_of_the_test(inner: Any) -> None:
    """sc's 1060 behind such a test accused the driver."""
    inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_removes(driver, guest):
    guest.services.remove(driver.service)
"""
    )
    entry = inner.test("test_removes")
    assert entry.verdict == "test"
    assert "a program removed the service" in entry.reason
    assert [guest.ended.split(":")[0] for guest in inner.report.guests] == ["driver sync did not unload"]


def test_a_missing_capability_skips_with_its_name_and_without_a_boot(inner: Any) -> None:
    result = inner.run(
        """
@pytest.mark.lab_needs("direct_io")
@pytest.mark.lab_driver("sync")
def test_needs(reader):
    pass
""",
        "-rs",
    )
    result.assert_outcomes(skipped=1)
    entry = inner.test("test_needs")
    assert entry.verdict == "skipped"
    assert entry.missing_capability == "direct_io"
    assert entry.reason == "needs capability direct_io, which simulated guest: no operating system at all lacks"
    result.stdout.fnmatch_lines([f"*{entry.reason}*"])
    assert inner.report.guests == []
    assert inner.report.skipped_for == {"direct_io": 1}


def test_a_boot_that_fails_is_tried_again_and_then_never_more(inner: Any) -> None:
    inner.prepare("from lab.errors import BootTimeout; source.boot_errors = [BootTimeout(f'too slow {n}') for n in range(2)]")
    inner.run(
        """
def test_one(guest):
    pass

def test_two(guest):
    pass
"""
    )
    assert inner.verdicts == {"test_one": "infra", "test_two": "infra"}
    assert [guest.ended for guest in inner.report.guests] == [f"did not get ready: too slow {n}" for n in range(2)]
    assert "an earlier boot failed" in inner.test("test_two").reason


def test_a_boot_that_fails_once_is_no_failure_of_the_test(inner: Any) -> None:
    inner.prepare("from lab.errors import BootTimeout; source.boot_errors = [BootTimeout('too slow')]")
    result = inner.run("def test_one(guest): pass")
    result.assert_outcomes(passed=1)
    assert len(inner.report.guests) == 2


def test_a_bug_of_the_lab_in_a_test_is_infra_and_one_of_the_test_is_its_own(inner: Any) -> None:
    inner.run(
        """
def test_of_the_lab(prints, monkeypatch):
    monkeypatch.setattr("lab.prints.matching.clean", None)
    prints.texts() or prints.expect(["x"], timeout=0.1)

def test_of_the_test(guest):
    {}["nothing"]
"""
    )
    assert inner.verdicts == {"test_of_the_lab": "infra", "test_of_the_test": "test"}
    assert "the lab itself failed: TypeError" in inner.test("test_of_the_lab").reason


def test_a_fresh_guest_and_one_of_two_processors(inner: Any) -> None:
    result = inner.run(
        """
@pytest.mark.lab_cpus(2)
def test_two_processors(guest):
    assert guest.smp == 2

def test_first(guest):
    assert guest.smp == 1

@pytest.mark.lab_fresh
def test_fresh(guest):
    assert guest.guest_id.endswith("-2")

def test_last(guest):
    assert guest.guest_id.endswith("-2")
"""
    )
    result.assert_outcomes(passed=4)
    ended = [guest.ended for guest in inner.report.guests]
    assert ended == ["replaced: a test needs a fresh guest", "replaced: a test needs 2 virtual CPU(s)", "end of run"]


def test_known_issues_of_the_lab_file(inner: Any) -> None:
    inner.pytester.makefile(
        ".yaml",
        lab="known:\n- {test: '*::test_wrong', driver: sync, reason: 'a bug of ours', until: 2999-01-01}\n",
    )
    inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_wrong(reader):
    assert reader.read(length=20)[0].text == "slot Z"
"""
    )
    assert inner.verdicts == {"test_wrong": "known"}
    assert inner.report.exit_code == 0


def test_a_run_that_stopped_at_a_known_issue_has_not_checked_everything(inner: Any) -> None:
    inner.pytester.makefile(".yaml", lab="known:\n- {test: '*', reason: 'a bug of ours', until: 2999-01-01}\n")
    inner.run("def test_wrong(guest): assert False\ndef test_after(guest): pass\n", "-x")
    assert inner.verdicts == {"test_wrong": "known"}
    assert len(inner.report.not_run) == 1
    assert inner.report.exit_code == 5


def test_an_assertion_of_a_test_without_the_lab_accuses_no_driver(inner: Any) -> None:
    inner.run(
        """
def test_plain(): assert 1 == 2
def test_fixture(guest): assert 1 == 2
def test_late(request):
    request.getfixturevalue("guest")
    assert 1 == 2
@pytest.mark.lab_driver("sync")
def test_marker(): assert 1 == 2
@pytest.mark.lab_fresh
def test_fresh(): assert 1 == 2
@pytest.fixture
def own(guest): return 1
def test_by_a_fixture(own): assert own == 2
@pytest.mark.xfail(reason="not yet")
def test_expected(): assert 1 == 2
"""
    )
    product = dict.fromkeys(["test_fixture", "test_late", "test_marker", "test_fresh", "test_by_a_fixture"], "product")
    assert inner.verdicts == product | {"test_plain": "test", "test_expected": "known"}


def test_xfail_skip_and_failing_fixtures(inner: Any) -> None:
    inner.run(
        """
@pytest.mark.xfail(reason="not yet")
def test_expected(guest):
    assert False

@pytest.mark.skip(reason="not today")
def test_skipped(guest):
    pass

@pytest.fixture
def broken(guest):
    raise RuntimeError("a bug in a fixture")

def test_fixture(broken):
    pass
"""
    )
    assert inner.verdicts == {"test_expected": "known", "test_skipped": "skipped", "test_fixture": "test"}
    assert inner.test("test_skipped").reason == "not today"


_FAULT_BEHIND_TEST_ONE = """
@pytest.hookimpl(trylast=True)
def pytest_runtest_logfinish(nodeid):
    if nodeid.endswith("test_one"):
        SOURCES[0].guests[0].prints.fault()
"""


def test_a_fault_behind_the_last_test_is_a_crash_of_that_test(inner: Any) -> None:
    inner.prepare(more=_FAULT_BEHIND_TEST_ONE)
    result = inner.run(
        """
def test_before(guest):
    pass

def test_one(guest):
    pass
"""
    )
    assert inner.verdicts == {"test_before": "passed", "test_one": "crash"}
    entry = inner.test("test_one")
    assert entry.reason.startswith("after the test, on its guest: driver fault 0xC0000005: err:seh:")
    assert entry.reason.endswith("(it was passed)")
    assert entry.fault is not None
    assert [fault.code for fault in inner.report.guests[0].faults] == ["0xC0000005"]
    assert inner.report.exit_code == 3
    assert result.ret == 1


@pytest.mark.parametrize("marker", ["lab_fresh", "lab_cpus(2)"])
def test_a_fault_ahead_of_a_replaced_guest_is_a_crash_of_the_test_before(inner: Any, marker: str) -> None:
    inner.prepare(more=_FAULT_BEHIND_TEST_ONE)
    inner.run(f"def test_one(guest): pass\n@pytest.mark.{marker}\ndef test_two(guest): pass\n")
    assert inner.verdicts == {"test_one": "crash", "test_two": "passed"}
    assert [len(guest.faults) for guest in inner.report.guests] == [1, 0]


@pytest.mark.parametrize("gap", [True, False])
def test_a_fault_during_the_boot_is_a_crash_of_the_boot(inner: Any, gap: bool) -> None:
    inner.prepare(
        """real = source.boot
    def boot(guest_id, *, smp=None):
        guest = real(guest_id, smp=smp)
        if guest_id.endswith("-1"):
            guest.prints.fault()
            GAP
        return guest
    source.boot = boot""".replace("GAP", "guest.prints.lose()" if gap else "pass")
    )
    inner.run("def test_one(guest): pass")
    assert inner.verdicts == {"boot": "crash", "test_one": "passed"}
    assert inner.test("boot").nodeid == "master-1::boot"
    assert "before any test, on guest master-1: driver fault 0xC0000005" in inner.test("boot").reason
    assert [guest.guest_id for guest in inner.report.guests] == ["master-1", "master-2"]
    assert [entry.text for entry in inner.report.guests[0].boot_prints] == ["a print of the boot"]
    assert inner.report.exit_code == 3


def test_a_fault_of_a_test_is_not_counted_again_by_its_guest(inner: Any) -> None:
    inner.prepare(more=_FAULT_BEHIND_TEST_ONE)
    inner.run(
        """
@pytest.mark.lab_driver("sync")
@pytest.mark.lab_expect_fault(0xC0000005)
def test_one(reader):
    reader.read(length=66)

@pytest.mark.lab_driver("sync")
def test_two(reader):
    reader.read(length=66)
"""
    )
    assert inner.verdicts == {"test_one": "passed", "test_two": "crash"}
    assert [len(guest.faults) for guest in inner.report.guests] == [1, 0]
    assert "after the test" not in inner.test("test_two").reason


def test_an_expected_fault_that_was_there_before_the_test_is_a_crash(inner: Any) -> None:
    inner.prepare(more=_FAULT_BEHIND_TEST_ONE)
    inner.run(
        """
def test_one(guest):
    pass

@pytest.mark.lab_expect_fault(0xC0000005)
def test_two(guest):
    pass
"""
    )
    assert inner.verdicts == {"test_one": "passed", "test_two": "crash"}


@pytest.mark.parametrize(
    ("length", "verdict"), [(66, "crash"), (77, "known"), (88, "infra"), (99, "infra")], ids=["fault", "hang", "gap", "end"]
)
def test_an_expected_failure_excuses_the_driver_alone(inner: Any, length: int, verdict: str) -> None:
    result = inner.run(
        f"""
pytestmark = pytest.mark.lab_driver("sync")

@pytest.mark.xfail(reason="not yet")
def test_expected(reader, prints):
    reader.read(length={length})
    prints.drain()
    assert False

def test_after(reader):
    assert reader.read(length=20)[0].text == "slot A"
"""
    )
    assert inner.verdicts == {"test_expected": verdict, "test_after": "passed"}
    assert len(inner.report.guests) == 2
    assert (result.ret == 0) is (verdict == "known")


def test_an_expected_failure_leaves_no_spoilt_guest_in_use(inner: Any) -> None:
    result = inner.run(
        """
from lab.errors import TransportError

@pytest.mark.xfail(reason="not yet")
def test_expected(guest):
    raise TransportError("the connection was reset")

def test_after(guest):
    pass
"""
    )
    entry = inner.test("test_expected")
    assert (entry.verdict, entry.reason) == ("infra", "the connection was reset")
    assert "TransportError" in entry.details
    assert [guest.ended for guest in inner.report.guests] == ["TransportError: the connection was reset", "end of run"]
    assert result.ret == 1


STUB = "function:ntoskrnl.exe!MmGetVirtualForPhysical"
WHY = f"needs {STUB}: this guest's kernel has no MmGetVirtualForPhysical"


@pytest.mark.parametrize("behind", ["assert reads[0].text == 'slot A'", "pass"])
def test_a_call_of_what_the_guests_kernel_lacks_skips_the_test_and_accuses_nobody(inner: Any, behind: str) -> None:
    result = inner.run(
        f"""
@pytest.mark.lab_driver("sync")
def test_stub(reader):
    reads = reader.read(length=55)
    {behind}

@pytest.mark.lab_driver("sync")
def test_after(reader):
    assert reader.read(length=20)[0].text == "slot A"
"""
    )
    assert inner.verdicts == {"test_stub": "skipped", "test_after": "passed"}
    entry = inner.test("test_stub")
    assert (entry.reason, entry.missing_capability, entry.fault, entry.evidence) == (WHY, STUB, None, [])
    assert inner.report.skipped_for == {STUB: 1}
    assert [guest.ended for guest in inner.report.guests] == [
        f"lacks {STUB}, called in test_inner.py::test_stub",
        "end of run",
    ]
    assert inner.report.exit_code == 0
    assert result.ret == 0, "pytest must not count as failed what the lab does not"
    assert not (inner.out / "evidence").exists()


def test_what_a_test_expects_of_its_driver_does_not_turn_the_guests_lack_into_a_finding(inner: Any) -> None:
    result = inner.run(
        """
pytestmark = pytest.mark.lab_driver("sync")

@pytest.mark.lab_expect_fault(0xC0000005)
def test_expects_a_fault(reader):
    reader.read(length=55)

@pytest.mark.xfail(reason="not done yet", strict=True)
def test_expected_to_fail(reader):
    reader.read(length=55)
    assert False

def test_waits_for_a_print(reader, prints):
    reader.read(length=55)
    prints.expect(["SimSync loaded", "read 55", "and more"], timeout=5)
"""
    )
    assert set(inner.verdicts.values()) == {"skipped"}
    assert {test.missing_capability for test in inner.report.tests} == {STUB}
    assert inner.report.exit_code == 5
    assert result.ret == 5
    result.assert_outcomes(passed=1, skipped=2, xfailed=1)


def test_a_fault_of_the_driver_ahead_of_such_a_call_is_a_crash_all_the_same(inner: Any) -> None:
    inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_both(reader, guest):
    reader.read(length=66)
    guest.prints.stub()
"""
    )
    assert inner.verdicts == {"test_both": "crash"}


def test_what_another_driver_of_the_run_does_not_export_is_no_lack_of_the_guest(inner: Any) -> None:
    inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_own(reader):
    reader.read(length=56)
"""
    )
    assert inner.verdicts == {"test_own": "crash"}


def test_such_a_call_behind_one_test_costs_the_next_one_a_guest_and_no_more(inner: Any) -> None:
    inner.prepare(
        more="""
@pytest.hookimpl(trylast=True)
def pytest_runtest_logfinish(nodeid):
    if nodeid.endswith("test_one"):
        SOURCES[0].guests[0].prints.stub()
"""
    )
    inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_one(reader):
    assert reader.read(length=20)[0].text == "slot A"

@pytest.mark.lab_driver("sync")
def test_two(reader):
    assert reader.read(length=20)[0].text == "slot A"
"""
    )
    assert inner.verdicts == {"test_one": "passed", "test_two": "passed"}
    assert len(inner.report.guests) == 2
    assert inner.report.exit_code == 0


KERNEL = """
    from lab.image.manifest import KernelFacts, KernelModule
    from simulated import manifest
    known = KernelModule(functions=("DbgPrint",), stubs=("MmGetVirtualForPhysical",))
    source.manifest = manifest(kernel=KernelFacts(modules={"ntoskrnl.exe": known}))
"""


def imports_of(monkeypatch: pytest.MonkeyPatch, **imports: dict[str, tuple[str, ...]]) -> None:
    """Have the drivers ``sim.sys`` and ``other.sys`` import this."""
    monkeypatch.setattr("lab.image.gaps.pe.inspect", lambda path: SimpleNamespace(imports=imports.get(path.stem, {})))


def test_a_driver_that_cannot_be_loaded_here_costs_no_boot(inner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    imports_of(monkeypatch, sim={"wdfldr.sys": ("WdfVersionBind",), "ntoskrnl.exe": ("DbgPrint",)})
    inner.prepare(changes=KERNEL.strip())
    result = inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_frameworked(driver):
    assert False, "it must not be started"
"""
    )
    entry = inner.test("test_frameworked")
    assert (entry.verdict, entry.missing_capability) == ("skipped", "module:wdfldr.sys")
    assert entry.reason == "needs module:wdfldr.sys: this guest has no module wdfldr.sys"
    assert inner.report.guests == []
    result.stdout.fnmatch_lines(["lab: sync: this guest has no module wdfldr.sys: its tests are skipped on this guest"])


def test_an_import_that_only_a_call_would_miss_keeps_no_test_from_running(inner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    imports_of(monkeypatch, sim={"ntoskrnl.exe": ("DbgPrint", "MmGetVirtualForPhysical", "ExNewer")})
    inner.prepare(changes=KERNEL.strip())
    result = inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_reads(reader):
    assert reader.read(length=20)[0].text == "slot A"
"""
    )
    assert inner.verdicts == {"test_reads": "passed"}
    said = "lab: sync imports functions that this guest's kernel only declares: MmGetVirtualForPhysical, ExNewer; a test *"
    result.stdout.fnmatch_lines([said])


def test_a_true_windows_is_not_held_against_any_list(inner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    imports_of(monkeypatch, sim={"wdfldr.sys": ("WdfVersionBind",)})
    inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_reads(reader):
    assert reader.read(length=20)[0].text == "slot A"
"""
    )
    assert inner.verdicts == {"test_reads": "passed"}


LOADER = """
    from lab.prints.record import NoteRecord
    from simulated import SimulatedTransport, SimulatedDriver
    def refuse(self, verb, service, real=SimulatedTransport._sc):
        if verb != "start":
            return real(self, verb, service)
        said = NoteRecord(sequence=len(self.prints.log), host_time=1.0, text="not found", lacks="module:{module}")
        self.prints.log.extend([said])
        return 1114, "[SC] StartService FAILED 1114:"
    monkey.setattr(SimulatedTransport, "_sc", refuse)
"""


@pytest.mark.parametrize(("module", "verdict"), [("wdfldr.sys", "skipped"), ("other.sys", "product")])
def test_a_module_that_the_loader_misses_is_the_guests_lack_unless_it_is_the_runs_own(
    inner: Any, module: str, verdict: str
) -> None:
    inner.prepare(changes="monkey = config.stash.setdefault(MONKEY, pytest.MonkeyPatch())" + LOADER.format(module=module))
    path = inner.pytester.path / "conftest.py"
    path.write_text(path.read_text().replace("SOURCES = []", "SOURCES = []\nMONKEY = pytest.StashKey()") + UNDO)
    inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_loads(driver):
    pass
"""
    )
    entry = inner.test("test_loads")
    assert entry.verdict == verdict, entry.reason
    assert entry.missing_capability == ("module:wdfldr.sys" if verdict == "skipped" else None)


UNDO = """
def pytest_unconfigure(config):
    if MONKEY in config.stash:
        config.stash[MONKEY].undo()
"""
