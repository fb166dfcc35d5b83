"""Whole inner pytest runs against simulated guests that crash and hang: verdicts, and what is saved of them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from lab.plugin.evidence_by_test import folder_name
from lab.report.model import TestEntry

READ = """
pytestmark = pytest.mark.lab_driver("sync")

def test_read(reader):
    reader.read(length={length})

def test_after(reader):
    assert reader.read(length=20)[0].text == "slot A"
"""


def crashing(inner: Any, changes: str = "pass", *, final: bool = True, more: str = "") -> None:
    inner.prepare(
        f"""from tests.simulated_crash import CrashingSource
    source = CrashingSource(source.folder, final={final})
    SOURCES[:] = [source]
    {changes}""",
        more,
    )


def kinds(entry: TestEntry) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in entry.evidence:
        found.setdefault(file.kind, []).append(Path(file.path).name)
    return found


def steps(entry: TestEntry) -> dict[str, str]:
    return {step.name: "left out" if step.skipped else "ok" if step.ok else "failed" for step in entry.evidence_steps}


@pytest.mark.parametrize(("length", "told"), [(60, "by its text"), (61, "by QEMU")])
def test_a_bugcheck_is_a_crash_with_everything_that_can_be_saved(inner: Any, length: int, told: str) -> None:
    crashing(inner)
    inner.run(READ.format(length=length), "--junitxml", str(inner.out / "junit.xml"))
    assert inner.verdicts == {"test_read": "crash", "test_after": "passed"}, told
    entry = inner.test("test_read")
    assert entry.fault is not None
    assert (entry.fault.code, entry.fault.name) == ("0x000000D1", "DRIVER_IRQL_NOT_LESS_OR_EQUAL")
    assert entry.fault.parameters == ["0xffffd00012345678", "0x2", "0x1", "0xfffff80212345678"]
    assert entry.fault.driver == ("sim.sys" if length == 60 else "sync")
    assert "a driver touched invalid or paged memory at raised IRQL" in entry.fault.hint
    assert entry.reason.startswith("bugcheck 0x000000D1 DRIVER_IRQL_NOT_LESS_OR_EQUAL (0xffffd00012345678, 0x2, 0x1, ")
    assert kinds(entry) == {
        "screenshot": ["crash.png"],
        "dump": ["memory.dmp"],
        "console": ["console.txt"],
        "events": ["qmp-events.jsonl"],
        "driver": ["sim.sys"],
        "guest-log": ["qemu.log"],
        "prints": ["prints.txt"],
    }
    assert all((inner.out / file.path).is_file() for file in entry.evidence)
    header = next(step for step in entry.evidence_steps if step.name == "dump-header")
    assert header.ok
    assert "as the guest reported; build 20348" in header.detail
    assert entry.hang is None
    page = (inner.out / "report.html").read_text(encoding="utf-8")
    assert all(f'href="{file.path}"' in page for file in entry.evidence)
    assert 'class="shot"' in page
    [case] = [case for case in ElementTree.parse(inner.out / "junit.xml").iter("testcase") if case.get("name") == "test_read"]
    lines = (case.findtext("system-out") or "").splitlines()
    assert lines == [f"[[ATTACHMENT|{inner.out / file.path}]]" for file in entry.evidence]
    assert inner.report.exit_code == 3


def test_a_dump_of_another_crash_is_reported_as_such(inner: Any) -> None:
    crashing(inner, "source.prepare = lambda guest: setattr(guest.machine.monitor, 'dump', b'PAGEDU64' + bytes(8184))")
    inner.run(READ.format(length=60))
    header = next(step for step in inner.test("test_read").evidence_steps if step.name == "dump-header")
    assert not header.ok
    assert "code 0x00000000, but 0x000000D1" in header.detail


def test_no_dump_where_none_is_wanted(inner: Any) -> None:
    crashing(inner)
    inner.run(READ.format(length=60), "--lab-crash-dump", "never")
    entry = inner.test("test_read")
    assert "dump" not in kinds(entry)
    assert steps(entry)["dump"] == "left out"


def test_the_vm_of_a_crashed_guest_is_ended_at_once(inner: Any) -> None:
    crashing(inner)
    inner.run(
        """
@pytest.mark.lab_driver("sync")
def test_read(reader, guest):
    try:
        reader.read(length=60)
    finally:
        import time
        deadline = time.monotonic() + 20
        while guest.alive and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not guest.alive
"""
    )
    assert inner.verdicts == {"test_read": "crash"}


def test_a_guest_that_resets_itself_is_a_crash_without_a_code(inner: Any) -> None:
    crashing(inner)
    inner.run(READ.format(length=62))
    assert inner.verdicts == {"test_read": "crash", "test_after": "passed"}
    entry = inner.test("test_read")
    assert entry.reason == "the guest reset itself (QEMU: SHUTDOWN)"
    assert entry.fault is not None
    assert entry.fault.code == "0x00000000"
    assert steps(entry)["dump"] == "left out"
    assert kinds(entry)["events"] == ["qmp-events.jsonl"]
    assert inner.report.guests[0].ended.startswith("crash: the guest reset itself")
    assert "0x00000000" not in (inner.out / "report.html").read_text(encoding="utf-8")


def test_a_guest_that_resets_itself_between_tests_is_a_crash_of_the_test_before(inner: Any) -> None:
    crashing(
        inner,
        more="""
@pytest.hookimpl(trylast=True)
def pytest_runtest_logfinish(nodeid):
    if nodeid.endswith("test_one"):
        machine = SOURCES[0].machines[0]
        machine.monitor.happen("SHUTDOWN", {"guest": True, "reason": "guest-reset"})
        machine.alive = False
""",
    )
    inner.run("def test_one(guest): pass\ndef test_two(guest): pass\n")
    assert inner.verdicts == {"test_one": "crash", "test_two": "passed"}
    entry = inner.test("test_one")
    assert entry.reason == "after the test, on its guest: the guest reset itself (QEMU: SHUTDOWN) (it was passed)"
    assert "events" in kinds(entry)


def test_a_guest_with_another_vm_is_watched_anew(inner: Any) -> None:
    crashing(inner)
    inner.run(
        """
pytestmark = pytest.mark.lab_driver("sync")

def test_before(guest, reader):
    from tests.simulated_crash import MonitoredMachine
    machine = MonitoredMachine()
    for number in range(5):
        guest.machine.monitor.happen("NIC_RX_FILTER_CHANGED")
    guest.machine = guest.transport.machine = guest.prints.machine = machine

def test_read(reader):
    reader.read(length=61)
"""
    )
    assert inner.verdicts == {"test_before": "passed", "test_read": "crash"}


def test_an_expected_bugcheck_passes_although_its_guest_is_gone(inner: Any) -> None:
    crashing(inner)
    result = inner.run(
        """
pytestmark = [pytest.mark.lab_driver("sync"), pytest.mark.lab_expect_fault(0xD1)]

def test_told_by_text(reader):
    reader.read(length=60)

def test_told_by_qemu(reader):
    reader.read(length=61)

def test_another_one(reader):
    reader.read(length=62)
"""
    )
    assert inner.verdicts == {"test_told_by_text": "passed", "test_told_by_qemu": "passed", "test_another_one": "crash"}
    result.assert_outcomes(passed=2, failed=1)
    assert inner.test("test_told_by_text").evidence == []


@pytest.mark.parametrize(("stops", "kind"), [(True, "soft"), (False, "hard")])
def test_a_hang_of_the_guest_is_infra_with_the_whole_ladder(inner: Any, stops: bool, kind: str) -> None:
    # The bugcheck that the lab's own NMI causes is not a crash of the test.
    crashing(
        inner,
        f"""def prepare(guest):
        guest.prints.stops = {stops}
        guest.machine.monitor.after_nmi = lambda: guest.prints.bugcheck(0x80, (0x4F4454, 0, 0, 0))
    source.prepare = prepare""",
    )
    inner.run(READ.format(length=63))
    assert inner.verdicts == {"test_read": "infra", "test_after": "passed"}
    entry = inner.test("test_read")
    assert entry.hang == kind
    assert "still runs after 60 s (the guest answers nothing else either)" in entry.reason
    expected = {"screenshot": "ok", "break-in": "ok", "nmi": "left out", "dump": "ok", "kill": "ok"}
    if not stops:
        expected |= {"break-in": "failed", "nmi": "ok"}
    assert {name: steps(entry)[name] for name in expected} == expected
    assert kinds(entry)["screenshot"] == ["hang.png"]
    assert kinds(entry)["dump"] == ["hang.dmp"]
    assert [guest.ended.split(":")[0] for guest in inner.report.guests] == ["hang", "end of run"]
    assert inner.report.guests[0].faults == []
    reaction = "left out: the kernel has stopped already" if stops else "sent; the guest showed no reaction"
    assert reaction in (inner.out / "report.html").read_text(encoding="utf-8")


def test_a_guest_that_does_not_even_take_the_command_hangs_too(inner: Any) -> None:
    crashing(inner)
    inner.run(READ.format(length=65))
    assert inner.verdicts == {"test_read": "infra", "test_after": "passed"}
    entry = inner.test("test_read")
    assert entry.reason == "no answer within the deadline"
    assert entry.hang == "hard"
    assert steps(entry)["kill"] == "ok"


def test_a_broken_answer_does_not_end_a_working_guest(inner: Any) -> None:
    crashing(inner)
    inner.run(
        """
from lab.errors import TransportError

def test_read(guest):
    raise TransportError("the answer is damaged")

def test_after(guest):
    pass
"""
    )
    entry = inner.test("test_read")
    assert (entry.verdict, entry.hang, entry.evidence) == ("infra", None, [])


def test_a_client_that_hangs_alone_is_product_and_its_guest_is_not_hurt(inner: Any) -> None:
    crashing(inner)
    inner.run(READ.format(length=64))
    assert inner.verdicts == {"test_read": "product", "test_after": "passed"}
    entry = inner.test("test_read")
    assert entry.hang is None
    assert kinds(entry)["screenshot"] == ["crash.png"]
    assert "nmi" not in steps(entry)
    assert "kill" not in steps(entry)


def test_a_fault_that_leaves_the_guest_alive_takes_no_dump_unless_asked(inner: Any) -> None:
    crashing(inner, final=False)
    inner.run(READ.format(length=66))
    entry = inner.test("test_read")
    assert entry.verdict == "crash"
    assert entry.reason.startswith("driver fault 0xC0000005 STATUS_ACCESS_VIOLATION (0x1234): err:seh")
    assert steps(entry)["dump"] == "left out"
    assert {"console", "events", "driver", "guest-log", "prints"} <= set(kinds(entry))
    prints = next(file for file in entry.evidence if file.kind == "prints")
    assert "*** driver fault: err:seh" in (inner.out / prints.path).read_text(encoding="utf-8")


def test_the_option_asks_for_a_dump_of_any_guest(inner: Any) -> None:
    crashing(inner, final=False)
    inner.run(READ.format(length=66), "--lab-crash-dump", "always")
    assert kinds(inner.test("test_read"))["dump"] == ["memory.dmp"]


def test_a_test_that_passes_leaves_no_evidence(inner: Any) -> None:
    crashing(inner)
    inner.run(READ.format(length=20))
    assert inner.test("test_read").evidence == []
    assert not (inner.out / "evidence").exists()


def test_folders_are_named_after_tests() -> None:
    name = folder_name("suites/sync/test_a.py::test_one[ä b]")
    assert name.startswith("suites-sync-test_a.py-test_one[-b]-")
    assert folder_name("suites/sync/test_a.py::test_one") != folder_name("suites/sync/test_a.py--test_one")
    assert len(folder_name("x" * 500)) < 120
    assert folder_name("x" * 500) != folder_name("x" * 501)
    assert folder_name("../..") not in ("", ".", "..")
    assert "/" not in folder_name("../../etc/passwd")
