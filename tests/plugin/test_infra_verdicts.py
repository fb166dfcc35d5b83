"""Errors of the lab in whole inner runs: no driver is accused, and the next test has a guest."""

from __future__ import annotations

from typing import Any


def test_a_killed_vm_is_infra_and_the_worker_continues(inner: Any) -> None:
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


def test_a_boot_that_fails_is_tried_once_more_and_then_given_up(inner: Any) -> None:
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
