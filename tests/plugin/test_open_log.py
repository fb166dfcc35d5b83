"""The run's log in pytest's processes, and messages of a worker, which has no terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.live.evidence import SavedEvidence
from lab.plugin.evidence_by_test import _with_prints
from lab.prints.window import Window

#: Another guest has the only slot, until the wait of this one has been reported.
_PLACE_TAKEN = """
import os
import lab.plugin.session
from lab.host.locks import locks_dir
from lab.lease.waiting import Patience
from lab.lease.slots import Slots

if "PYTEST_XDIST_WORKER" in os.environ:
    HOLDER = Slots(locks_dir(), 1)
    HOLDER.take()

    def patience(say):
        def told(text):
            say(text)
            HOLDER.give_back()
        return Patience(told, after_s=0.0)

    lab.plugin.session.Patience = patience
"""


def test_all_processes_of_a_run_write_into_one_log(inner: Any) -> None:
    tests = "def test_one(guest): pass\ndef test_two(guest): pass"
    result = inner.run(tests, "-n", "2", "--lab-isolation", "test", "--lab-log-level", "info")
    lines = (inner.out / "lab.log").read_text(encoding="utf-8").splitlines()
    assert {line.split()[1] for line in lines} >= {"gw0", "gw1"}
    assert sum(" INFO lab.report.worker_files: passed after " in line for line in lines) == 2
    assert any(" gw0 INFO lab.lease.starter: gw0-1 is ready after " in line for line in lines)
    assert str(inner.out / "lab.log") in result.stdout.str()
    assert 'href="lab.log"' in (inner.out / "report.html").read_text(encoding="utf-8")


def test_a_run_that_waits_for_a_place_says_so_on_the_terminal(
    inner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_LOCKS", str(tmp_path))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # the inner run must not look like a worker of the outer one
    inner.prepare(more=_PLACE_TAKEN)
    result = inner.run("def test_one(guest): pass", "-n", "1")
    assert "lab: gw0 waiting for a slot for its guest: other runs on this host have all slots" in result.stderr.str()
    assert "lab: gw0 continued after" in result.stderr.str()
    assert inner.verdicts == {"test_one": "passed"}
    assert "lab.lease.waiting: waiting for a slot" in (inner.out / "lab.log").read_text(encoding="utf-8")


def test_a_session_of_other_tests_keeps_no_log(pytester: pytest.Pytester) -> None:
    """Its workers had a handler and a level on the lab's logger, which looked like a leak of a test."""
    pytester.makepyfile(
        "import logging\n"
        "def test_one():\n"
        "    logger = logging.getLogger('lab')\n"
        "    assert (logger.handlers, logger.level) == ([], logging.NOTSET)\n"
    )
    words = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest", "--lab-out", str(pytester.path / "run")]
    result = pytester.runpytest_subprocess(*words, "-n", "1", timeout=120)
    result.assert_outcomes(passed=1)
    assert not (pytester.path / "run").exists()


def test_a_wrong_level_is_reported(inner: Any) -> None:
    result = inner.run("def test_one(guest): pass", "--lab-log-level", "loud")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "invalid choice: 'loud'" in result.stderr.str()


def test_prints_that_cannot_be_saved_with_a_crash_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The other evidence is saved, and the log says why this file is missing."""
    (tmp_path / "evidence").write_text("a file where a folder is wanted", encoding="utf-8")
    saved = SavedEvidence(folder=tmp_path / "evidence" / "test", files=(), steps=())
    assert _with_prints(saved, Window(name="test", records=())) is saved
    assert "prints.txt: FileExistsError: [Errno 17]" in caplog.text or "prints.txt: NotADirectoryError" in caplog.text


def test_lines_below_warnings_are_no_part_of_a_failed_tests_report(inner: Any) -> None:
    """pytest 9.1 and later captures of loggers that do not propagate, too."""
    result = inner.run("def test_one(guest):\n    assert False", "--lab-log-level", "debug")
    assert "Captured log" not in result.stdout.str()
