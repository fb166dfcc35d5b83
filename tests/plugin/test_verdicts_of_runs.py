"""Whole inner pytest runs against simulated guests: every way in which a test can end gets its own verdict."""

from __future__ import annotations

from typing import Any


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
    """sc's 1060 after such a test accused the driver."""
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
