"""A guest that is really starved: its virtual machine shares one processor with busy loops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.gate.starvation import STARVED_SHARE
from tests.e2e.running import FinishedRun

pytestmark = pytest.mark.e2e

SUITE = '''
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from lab.suite import DeviceReader, LiveGuest, timing

pytestmark = pytest.mark.lab_driver("sync", reload=False)
FOLDER = pathlib.Path(__file__).parent


@pytest.fixture
def starved(guest: LiveGuest) -> Iterator[None]:
    """The guest's virtual machine and four busy loops have one processor."""
    cpu = {min(os.sched_getaffinity(0))}
    threads = [int(name) for name in os.listdir(f"/proc/{guest.machine.pid}/task")]
    for thread in threads:
        os.sched_setaffinity(thread, cpu)
    code = f"import os, time; os.sched_setaffinity(0, {cpu}); end = time.monotonic() + 120\\nwhile time.monotonic() < end: pass"
    loops = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


def first_run(name: str) -> bool:
    path = FOLDER / name
    there = path.exists()
    path.touch()
    return not there


def test_once(starved: None, reader: DeviceReader) -> None:
    assert len(reader.read(length=20, times=5)) == 5
    with timing("the answer comes at once"):
        assert not first_run("once")


def test_always(starved: None, reader: DeviceReader) -> None:
    assert len(reader.read(length=20, times=5)) == 5
    with timing("the answer comes at once"):
        assert reader.read(length=20)[0].duration_s < 0


def test_a_wrong_text(starved: None, reader: DeviceReader) -> None:
    assert reader.read(length=20)[0].text == "another driver's"
'''


def test_a_starved_guest_accuses_no_driver_by_time_and_excuses_nothing_else(
    tmp_path: Path, finish_run: Callable[..., FinishedRun]
) -> None:
    (tmp_path / "test_starved.py").write_text(SUITE, encoding="utf-8")
    run = finish_run("--clock", "real", "--workers", "1", str(tmp_path / "test_starved.py"))
    found = {test.nodeid.rpartition("::")[2]: test for test in run.report.tests}
    once, always, wrong = found["test_once"], found["test_always"], found["test_a_wrong_text"]
    assert (once.verdict, once.attempts) == ("passed", 2), run.output
    assert once.history[0].processor is not None
    assert once.history[0].processor.share >= STARVED_SHARE
    assert "the first run failed by time while its guest waited" in once.note
    assert once.history[0].guest_id != once.guest_id
    assert (always.verdict, always.attempts) == ("infra", 2), run.output
    assert "in its second run too: the answer comes at once: assert" in always.reason
    assert (wrong.verdict, wrong.attempts) == ("product", 1)
    assert wrong.processor is not None
    assert wrong.processor.share >= STARVED_SHARE
    assert run.exit_code == 1
    assert "again " in run.output
