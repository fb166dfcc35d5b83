"""The suites, and many forks in a row, on guests whose prints go through the finished labrelay.sys. They are not Windows.

The kernel around the driver is a stand-in in QEMU under TCG, and the drivers are a model of the lab's two; templates, forks and
everything that reads prints are the lab's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from lab.report.model import GuestEntry, TestEntry
from tests.e2e.running import FinishedRun
from tests.relayguest.guest import LOST
from tests.relayguest.logs import frames_of

pytestmark = pytest.mark.e2e

FORKS = 50
#: Numbers of the tests that kill their worker, the first time that they run.
KILLED = (11, 31)
_PRINT = "读字节长度: 20 \n"

_MANY = f"""
import os, pathlib, signal
import pytest

pytestmark = pytest.mark.lab_driver("sync")

@pytest.mark.parametrize("number", range({FORKS}))
def test_fork(number, reader, prints):
    reads = 1 + number % 5
    assert len(reader.read(length=20, times=reads)) == reads
    prints.expect(["读字节长度: 20"] * reads)
    killed = pathlib.Path(__file__).with_name(f"killed-{{number}}")
    if number in {KILLED} and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""

_LOST = """
import pytest

pytestmark = pytest.mark.lab_driver("sync")

def test_lost(reader):
    reader.run("open h {link} access=rw; ioctl h 0x22105E; read h 20; read h 20")

def test_after_the_loss(reader, prints):
    reader.read(length=20)
    prints.expect(["读字节长度: 20"])
"""


def forks_of(guests: Iterable[GuestEntry]) -> list[GuestEntry]:
    """The guests, all of which are forks."""
    found = list(guests)
    assert all(guest.template for guest in found), [guest.guest_id for guest in found if not guest.template]
    return found


def texts(test: TestEntry) -> list[str]:
    """The prints of a test."""
    assert {entry.source for entry in test.prints} <= {"relay"}
    return [entry.text for entry in test.prints]


def audit(out: Path) -> int:
    """Read the logs of all guests of a run; returns how many are logs of forks."""
    logs = sorted((out / "guests").glob("*/debugcon.log"))
    begun = [log for log in logs if log.with_name("debugcon.start.json").exists()]
    for log in logs:
        frames_of(log)
    return len(begun)


def test_the_suites_run_unchanged_in_forks_by_the_default_number_of_workers(run: Callable[..., FinishedRun]) -> None:
    done = run("suites/sync", "suites/async", "suites/lifecycle")
    assert done.exit_code == 0, done.output
    report = done.report
    assert {test.verdict for test in report.tests} == {"passed"}
    forks = forks_of(report.guests)
    assert [guest.gaps for guest in forks] == [[]] * len(forks)
    assert report.unattributed_prints == 0
    [slots] = [test for test in report.tests if test.nodeid.endswith("::test_the_first_five_reads_deliver_the_five_strings")]
    assert texts(slots) == [_PRINT] * 5
    assert audit(done.out) == len(forks)


def test_fifty_forks_in_a_row_two_at_a_time_lose_and_double_no_print(run: Callable[..., FinishedRun], tmp_path: Path) -> None:
    suite = tmp_path / "test_many.py"
    suite.write_text(_MANY, encoding="utf-8")
    done = run("--workers", "2", "--isolation", "test", str(suite))
    report = done.report
    of_number = {int(test.nodeid.rpartition("[")[2].rstrip("]")): test for test in report.tests}
    assert sorted(of_number) == list(range(FORKS)), done.output
    for number, test in of_number.items():
        assert (test.verdict, texts(test)) == ("passed", [_PRINT] * (1 + number % 5)), (number, test.reason)
        # A test whose worker was killed is run again, in a fork of its own.
        before = [attempt.verdict for attempt in test.history[:-1]]
        assert before == (["infra"] if number in KILLED else []), number
    forks = forks_of(report.guests)
    assert len(forks) >= FORKS
    assert [guest.gaps for guest in forks] == [[]] * len(forks)
    assert report.unattributed_prints == 0
    assert audit(done.out) >= FORKS


def test_prints_that_the_relay_lost_in_a_fork_are_counted_where_they_are_missing(
    run: Callable[..., FinishedRun], tmp_path: Path
) -> None:
    suite = tmp_path / "test_lost.py"
    suite.write_text(_LOST, encoding="utf-8")
    done = run("--workers", "1", str(suite))
    assert done.exit_code == 10, done.output
    after, lost = sorted(done.report.tests, key=lambda test: test.nodeid)
    assert (lost.verdict, after.verdict) == ("infra", "passed")
    assert f"{LOST} record(s) before record" in lost.reason
    assert texts(lost) == [_PRINT] * 2
    first, second = forks_of(done.report.guests)
    assert (len(first.gaps), second.gaps) == (1, [])
