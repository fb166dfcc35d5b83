"""The tested files are those of `run.json`, also if a file changes during the boot, or with two checkouts of one driver."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.toolchain.build import build_components
from lab.toolchain.manifest import load_component
from tests.e2e.running import ROOT, FinishedRun, StartedRun, is_qemu, poll

pytestmark = pytest.mark.e2e

#: Reads the five strings of the driver.
_TESTS = ("--workers", "1", "suites/sync/test_slots.py", "-k", "five_strings")


def checkout(folder: Path, word: str) -> Path:
    """A checkout of the sync driver with another word than `lyshark` in its third string."""
    shutil.copytree(ROOT / "driver" / "sync", folder / "sync")
    source = folder / "sync" / "sync.c"
    text = source.read_text(encoding="utf-8")
    assert "hi, lyshark C" in text
    source.write_text(text.replace("hi, lyshark C", f"hi, {word} C"), encoding="utf-8")
    return folder / "sync"


def built(folder: Path, word: str) -> bytes:
    """That driver, finished."""
    component = load_component(checkout(folder, word) / "driver.yaml")
    (result,) = build_components([component], "x64", folder / "build", None)
    return result.path.read_bytes()


def outcome(run: FinishedRun) -> tuple[str, bool, str]:
    """Of the sync driver: the hash that the run names, whether all tests passed, and the tests' messages."""
    (driver,) = (one for one in run.report.drivers if one.name == "sync")
    assert not run.tests("infra"), run.output
    said = "".join(test.reason + test.details for test in run.report.tests)
    return driver.sha256, not run.tests("product"), said


def test_a_driver_that_is_built_anew_while_the_guest_boots(tmp_path: Path, start_run: Callable[..., StartedRun]) -> None:
    """The run tested the new file under the hash of the old one, and so did every later run of the old one."""
    old, new = built(tmp_path / "old", "lyshark"), built(tmp_path / "new", "whoever")
    image = tmp_path / "sync.sys"
    image.write_bytes(old)
    run = start_run("--driver", str(image), *_TESTS)

    def boots() -> bool:
        return (run.out / "drivers").is_dir() and any(is_qemu(process) for process in run.descendants())

    poll("the guest boots", boots, timeout=300)
    image.write_bytes(new)
    sha256, passed, said = outcome(run.finish())
    assert (sha256, passed) == (hashlib.sha256(old).hexdigest(), True), said
    for content, good in ((new, False), (old, True)):
        image.write_bytes(content)
        sha256, passed, said = outcome(start_run("--driver", str(image), *_TESTS).finish())
        assert (sha256, passed) == (hashlib.sha256(content).hexdigest(), good), said
        assert good or "hi, whoever C" in said


def test_two_checkouts_of_one_driver_at_once(tmp_path: Path, start_run: Callable[..., StartedRun]) -> None:
    """They shared one folder of builds, and one of them tested the other's driver."""
    words = ("first", "second")
    runs = [start_run("--driver", str(checkout(tmp_path / word, word)), *_TESTS) for word in words]
    found = [outcome(run.finish()) for run in runs]
    for (_, passed, said), word, other in zip(found, words, reversed(words), strict=True):
        assert not passed
        assert f"hi, {word} C" in said
        assert f"hi, {other} C" not in said
    assert found[0][0] != found[1][0]
