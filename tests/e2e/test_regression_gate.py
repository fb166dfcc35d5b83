"""The lab as the gate that stops a regression: a wrong byte is `product`, a fault is `crash`, and the run goes on."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.running import ROOT, FinishedRun

pytestmark = pytest.mark.e2e


def changed_driver(folder: Path, change: Callable[[str], str], name: str = "sync") -> Path:
    """Copy a driver's folder and change its source; fails when the change changes nothing."""
    copy = folder / name
    shutil.copytree(ROOT / "driver" / name, copy)
    source = copy / f"{name}.c"
    before = source.read_text(encoding="utf-8")
    after = change(before)
    assert after != before
    source.write_text(after, encoding="utf-8")
    return copy


def test_one_wrong_byte_in_a_documented_string_is_a_product_failure(
    tmp_path: Path, finish_run: Callable[..., FinishedRun]
) -> None:
    driver = changed_driver(tmp_path, lambda text: text.replace("hi, lyshark C", "hi, lyshark c"))
    run = finish_run("--driver", str(driver), "--workers", "1", "suites/sync/test_slots.py")
    assert run.exit_code == 1, run.output
    wrong = run.tests("product")
    assert any("five" in t.nodeid for t in wrong), [t.nodeid for t in wrong]
    assert all("lyshark c" in t.reason + t.details for t in wrong), [t.reason for t in wrong]
    assert run.tests("passed"), "only the tests that see slot C may fail"
    assert not run.tests("crash")
    assert not run.tests("infra")
    for test in wrong:
        assert test.nodeid in run.output


def test_a_tick_that_is_three_percent_slow_is_a_product_failure_with_a_virtual_clock(
    tmp_path: Path, finish_run: Callable[..., FinishedRun]
) -> None:
    driver = changed_driver(tmp_path, lambda text: re.sub(r"(TICK_PERIOD_MS) 1000\b", r"\1 1030", text), "async")
    apart = "one_second_apart"
    options = ("--clock", "virtual", "--workers", "1", "-k", apart)
    run = finish_run("--driver", str(driver), *options, "suites/async")
    assert run.exit_code == 1, run.output
    assert not run.tests("passed")
    wrong = run.tests("product")
    assert len(wrong) == 2, [t.nodeid for t in wrong]
    assert all(apart in t.nodeid and "1.03" in t.reason + t.details for t in wrong), [t.reason for t in wrong]


def test_a_null_pointer_write_on_read_is_a_crash_that_names_test_and_fault(
    tmp_path: Path, finish_run: Callable[..., FinishedRun]
) -> None:
    def write_through_null(text: str) -> str:
        return re.sub(r"(\bDispatchRead\([^;{]*\)\s*\{)", r"\1\n    *(volatile int *)0 = 1;\n", text, count=1)

    driver = changed_driver(tmp_path, write_through_null)
    run = finish_run("--driver", str(driver), "--workers", "1", "suites/sync", "-k", "first_five or opens_for or opens_again")
    assert run.exit_code == 3, run.output
    crashed = run.tests("crash")
    assert crashed
    page = (run.out / "report.html").read_text(encoding="utf-8")
    junit = (run.out / "junit.xml").read_text(encoding="utf-8")
    for test in crashed:
        assert test.fault is not None
        assert test.fault.code.lower() == "0xc0000005"
        assert "0xc0000005" in test.reason.lower()
        assert test.fault.name == "STATUS_ACCESS_VIOLATION"
        assert "DispatchRead, sync.c:" in test.fault.where
        found = {file.kind: file for file in test.evidence}
        assert {"console", "events", "prints", "driver", "symbols", "guest-log"} <= set(found)
        assert "dump" not in found, "this guest's memory says little, and nobody asked for it"
        assert all((run.out / file.path).is_file() for file in test.evidence)
        assert all(f'href="{quote(file.path)}"' in page for file in test.evidence)
        assert "driver fault" in (run.out / found["prints"].path).read_text(encoding="utf-8")
        assert all(f"[[ATTACHMENT|{run.out / file.path}]]" in junit for file in test.evidence)
    assert run.tests("passed"), "tests that do not read still run, on a fresh guest"
    assert not run.tests("infra"), [t.reason for t in run.tests("infra")]
