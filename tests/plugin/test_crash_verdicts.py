"""Faults of a driver in whole inner runs: which test they belong to, also between tests and during a boot."""

from __future__ import annotations

from typing import Any

import pytest


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
    assert entry.signature == "crash 0xC0000005 STATUS_ACCESS_VIOLATION in sync"
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


_FAULT_BEHIND_TEST_ONE = """
@pytest.hookimpl(trylast=True)
def pytest_runtest_logfinish(nodeid):
    if nodeid.endswith("test_one"):
        SOURCES[0].guests[0].prints.fault()
"""


def test_a_fault_after_the_last_test_is_a_crash_of_that_test(inner: Any) -> None:
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
def test_a_fault_before_a_guest_is_replaced_is_a_crash_of_the_test_before(inner: Any, marker: str) -> None:
    inner.prepare(more=_FAULT_BEHIND_TEST_ONE)
    inner.run(f"def test_one(guest): pass\n@pytest.mark.{marker}\ndef test_two(guest): pass\n")
    assert inner.verdicts == {"test_one": "crash", "test_two": "passed"}
    assert [len(guest.faults) for guest in inner.report.guests] == [1, 0]


@pytest.mark.parametrize("gap", [True, False])
def test_a_fault_during_the_boot_is_a_crash_of_the_boot(inner: Any, gap: bool) -> None:
    inner.prepare(
        """real = source.boot
    def boot(guest_id, *, smp=None, clock="real"):
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


def test_an_expected_fault_from_before_the_test_is_a_crash(inner: Any) -> None:
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
