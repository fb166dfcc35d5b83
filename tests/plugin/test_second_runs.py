"""Whole inner pytest runs in which guests are starved: failures about time accuse no driver, and nothing else is excused."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from lab.vm.processor_time import ProcessorReading
from tests.simulated import SimulatedHost

FORKS = ("None", "SimulatedForks()")

#: Fails because of time in its first run, and not in its second one.
LATE_ONCE = """
import pathlib
from lab.suite import timing

pytestmark = pytest.mark.lab_driver("sync")

def first_run():
    path = pathlib.Path("once")
    there = path.exists()
    path.touch()
    return not there

def test_late(reader, prints, request):
    request.node.user_properties.append(("run", "one"))
    print("output of this run")
    gap = 3.0889 if first_run() else 1.0
    assert reader.read(length=20)[0].text == "slot A"
    with timing("ticks are one second apart"):
        assert gap == pytest.approx(1.0, abs=0.4)

def test_after(reader):
    assert reader.read(length=20)[0].text == "slot A"
"""
LATE_ALWAYS = """
from lab.suite import timing

@pytest.mark.lab_driver("sync")
def test_late(reader):
    with timing("ticks are one second apart"):
        assert 3.0889 == pytest.approx(1.0, abs=0.4)
"""


@pytest.mark.parametrize("forks", FORKS)
def test_a_late_tick_of_a_starved_guest_is_tried_again_in_a_fresh_one(inner: Any, forks: str) -> None:
    inner.prepare("source.starved = [0.6, 0.01, 0.01]", forks=forks)
    junit = inner.pytester.path / "junit.xml"
    result = inner.run(LATE_ONCE, "-x", "--junitxml", str(junit))
    result.assert_outcomes(passed=2)
    assert result.ret == 0
    assert inner.report.exit_code == 0
    entry = inner.test("test_late")
    assert (entry.verdict, entry.attempts, entry.reason) == ("passed", 2, "")
    assert entry.note == (
        "run again in a fresh guest: the first run failed by time while its guest waited 6.0 of 10.0 s (60%) for a processor; "
        "in this run it waited 0.1 of 10.0 s (1%) for a processor"
    )
    first, last = entry.history
    assert (first.verdict, last.verdict) == ("infra", "passed")
    assert first.reason.startswith(
        "failed by time while its guest waited 6.0 of 10.0 s (60%) for a processor; it is run again in"
    )
    assert "ticks are one second apart: assert 3.0889 == 1.0 ± 0.4" in first.reason
    assert "with timing(" in first.details
    assert [record.text for record in first.prints] == ["SimSync loaded", "read 20 \n"]
    assert (first.processor.share, last.processor.share, entry.processor.share) == (0.6, 0.01, 0.01)
    assert first.guest_id != last.guest_id == entry.guest_id
    assert inner.report.guests[0].ended == "starved: its test is run again"
    assert "run again in a fresh guest" in (inner.out / "report.html").read_text(encoding="utf-8")
    [case] = [case for case in ElementTree.parse(junit).iter("testcase") if case.get("name") == "test_late"]
    properties = [(node.get("name"), node.get("value")) for node in case.iter("property")]
    assert [value for name, value in properties if name == "run"] == ["one"]
    assert [value for name, value in properties if name == "lab_note"] == [entry.note]
    assert case.find("failure") is None


def test_the_second_run_is_reported_with_its_own_output_only(inner: Any) -> None:
    inner.prepare("source.starved = [0.6, 0.01]")
    result = inner.run(LATE_ONCE, "-rA", "-k", "late")
    assert result.stdout.str().count("output of this run") == 1


@pytest.mark.parametrize("forks", FORKS)
def test_a_test_that_is_starved_twice_is_infra_with_the_figures(inner: Any, forks: str) -> None:
    inner.prepare("source.starved = [0.6, 0.5, 0.4]", forks=forks)
    result = inner.run(LATE_ALWAYS)
    result.assert_outcomes(failed=1)
    entry = inner.test("test_late")
    assert (entry.verdict, entry.attempts) == ("infra", 2)
    assert entry.reason.startswith(
        "failed by time while its guest waited 5.0 of 10.0 s (50%) for a processor, in its second run too: "
    )
    assert "(60%)" in entry.note
    assert inner.report.exit_code == 10


def test_a_second_run_that_fails_with_processor_time_is_product(inner: Any) -> None:
    inner.prepare("source.starved = [0.6, 0.09]")
    inner.run(LATE_ALWAYS).assert_outcomes(failed=1)
    entry = inner.test("test_late")
    assert (entry.verdict, entry.attempts) == ("product", 2)
    assert entry.reason.startswith("ticks are one second apart: assert")
    assert inner.report.exit_code == 1


@pytest.mark.parametrize("starved", ["[0.09]", "[]"])
def test_a_guest_with_processor_time_or_an_unknown_one_excuses_nothing(inner: Any, starved: str) -> None:
    inner.prepare(f"source.starved = {starved}")
    inner.run(LATE_ALWAYS).assert_outcomes(failed=1)
    entry = inner.test("test_late")
    assert (entry.verdict, entry.attempts, entry.note) == ("product", 1, "")
    assert (entry.processor is None) is (starved == "[]")


WRONG = """
from lab.suite import timing
pytestmark = pytest.mark.lab_driver("sync")

def test_text(reader):
    assert reader.read(length=20)[0].text == "slot Z"

def test_print(reader, prints):
    reader.read(length=20)
    with timing("the print comes soon"):
        prints.expect(["SimSync loaded", "read 21"], timeout=0.1)

def test_text_beside_a_late_one(reader, request):
    request.addfinalizer(lambda: pytest.fail("the handle is still open"))
    with timing("at once"):
        assert 2 < 1

def test_mistake(reader):
    with timing("at once"):
        {}["nothing"]
"""


def test_failures_not_about_time_count_on_a_starved_guest(inner: Any) -> None:
    inner.prepare("source.starved = [0.9] * 9")
    inner.run(WRONG)
    product = dict.fromkeys(["test_text", "test_print", "test_text_beside_a_late_one"], "product")
    assert inner.verdicts == product | {"test_mistake": "test"}
    assert [test.attempts for test in inner.report.tests] == [1] * 4
    assert inner.test("test_text_beside_a_late_one").reason == "in teardown: the handle is still open"


LATE_PRINTS = """
pytestmark = pytest.mark.lab_driver("sync")

def test_gap(reader, prints):
    reader.read(length=20, times=2)
    prints.expect(["read 20"] * 2, skip_others=True, guest_gap=(1.0, 1.1))

def test_deadline(reader, prints):
    prints.expect(["SimSync loaded", "a print that does not come"], timeout=0.05)

def test_hang(reader):
    reader.read(length=77)
"""


def test_late_prints_and_deadlines_are_about_time_by_themselves(inner: Any) -> None:
    inner.prepare("source.starved = [0.9] * 9")
    inner.run(LATE_PRINTS)
    assert set(inner.verdicts.values()) == {"infra"}
    assert [test.attempts for test in inner.report.tests] == [2] * 3


def test_a_crash_after_a_late_tick_is_a_crash_and_not_tried_again(inner: Any) -> None:
    inner.prepare("source.starved = [0.9] * 9")
    inner.run(
        """
from lab.suite import timing

@pytest.fixture
def faults_late(reader):
    yield
    reader.read(length=66)

@pytest.mark.lab_driver("sync")
def test_late(faults_late):
    with timing("at once"):
        assert 2 < 1
"""
    )
    assert inner.verdicts == {"test_late": "crash"}
    assert inner.test("test_late").attempts == 1


def test_workers_run_their_own_tests_again(inner: Any) -> None:
    inner.prepare("source.starved = [0.6, 0.01, 0.01]", forks="SimulatedForks()")
    inner.run(LATE_ONCE, "-n", "2").assert_outcomes(passed=2)
    assert inner.test("test_late").attempts == 2
    assert inner.report.exit_code == 0


def test_the_first_guest_is_not_the_one_that_is_kept(inner: Any) -> None:
    inner.prepare("source.starved = [0.6, 0.01]")
    inner.run(LATE_ALWAYS, "--lab-keep", "failed")
    assert [bool(guest.kept_as) for guest in inner.report.guests] == [False, True]


def test_without_another_guest_there_is_no_second_run_and_no_accusation(inner: Any) -> None:
    inner.prepare("source.starved = [0.6]\n    source.only_guest = True")
    inner.run(LATE_ALWAYS)
    entry = inner.test("test_late")
    assert (entry.verdict, entry.attempts) == ("infra", 1)
    assert "(60%) for a processor: ticks" in entry.reason


def test_a_test_that_another_plugin_repeats_is_not_repeated_by_the_lab(inner: Any) -> None:
    marker = "def pytest_configure(config): config.addinivalue_line('markers', 'flaky: of pytest-rerunfailures')"
    inner.prepare("source.starved = [0.6, 0.6]", more=marker)
    inner.run(LATE_ALWAYS.replace("@pytest", "@pytest.mark.flaky\n@pytest"))
    assert (inner.test("test_late").verdict, inner.test("test_late").attempts) == ("infra", 1)


def test_the_timer_of_pytest_timeout_ends_before_the_second_run(inner: Any) -> None:
    inner.prepare(
        "source.starved = [0.6, 0.01]",
        more="""
class Timeout:
    def pytest_addhooks(self, pluginmanager):
        class Spec:
            @pytest.hookspec(firstresult=True)
            def pytest_timeout_cancel_timer(self, item): pass
        pluginmanager.add_hookspecs(Spec)
    def pytest_timeout_cancel_timer(self, item):
        pathlib.Path("cancelled").write_text(item.name)
        return True

def pytest_configure(config):
    config.pluginmanager.register(Timeout())
""",
    )
    inner.run(LATE_ONCE, "-k", "late").assert_outcomes(passed=1, deselected=1)
    assert (inner.pytester.path / "cancelled").read_text(encoding="utf-8") == "test_late"


def test_the_simulated_host_counts_as_a_real_one() -> None:
    host = SimulatedHost(0.5)
    assert [host.read(), host.read()] == [
        ProcessorReading(at=10.0, waited={1: 5.0}),
        ProcessorReading(at=20.0, waited={1: 10.0}),
    ]


HOLDS_THE_HOST = """
import fcntl
import pathlib
from lab.suite import timing

pytestmark = pytest.mark.lab_driver("sync")

def others_may_run():
    with open(LOCKS / "turn.lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

def test_late(reader):
    path = pathlib.Path("seen")
    seen = path.read_text() if path.exists() else ""
    path.write_text(seen + f"{others_may_run()} ")
    with timing("ticks are one second apart"):
        assert seen

def test_after(reader):
    path = pathlib.Path("seen")
    path.write_text(path.read_text() + f"{others_may_run()} ")
"""


def test_a_second_run_has_the_host_alone(inner: Any) -> None:
    """With more workers than cores, the workers starve each other's guests, in the second run as well."""
    inner.prepare("source.starved = [0.6, 0.01, 0.01]")
    locks = inner.out / "workers"
    result = inner.run(f"import pathlib\nLOCKS = pathlib.Path({str(locks)!r})\n" + HOLDS_THE_HOST)
    result.assert_outcomes(passed=2)
    assert (inner.pytester.path / "seen").read_text().split() == ["True", "False", "True"]


NEVER_PRINTED = """
@pytest.mark.lab_driver("sync")
def test_missing(reader, prints):
    prints.skip_load()
    prints.expect("never printed", timeout=0.1)
"""


def test_a_print_that_never_comes_is_missed_on_a_busy_host_too(inner: Any) -> None:
    inner.prepare("source.starved = [0.3] * 9")
    inner.run(NEVER_PRINTED).assert_outcomes(failed=1)
    entry = inner.test("test_missing")
    assert (entry.verdict, entry.attempts) == ("product", 1)
    assert inner.report.exit_code == 1
