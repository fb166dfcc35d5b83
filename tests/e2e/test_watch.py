"""`lab run --watch` on an own small driver: saved files are built and run, errors are shown, and watching continues."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.running import LAB, poll

pytestmark = pytest.mark.e2e

MANIFEST = "name: bell\nimage: bell.sys\nservice: Bell\nsources: [bell.c]\n"
HEADER = '#define RINGS "two rings"\n'
SOURCE = """
#include <ntddk.h>
#include "../inc/rings.h"

static VOID Unload(PDRIVER_OBJECT driver)
{
    UNREFERENCED_PARAMETER(driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    UNREFERENCED_PARAMETER(path);
    driver->DriverUnload = Unload;
    DbgPrint("bell: " RINGS "\\n");
    return STATUS_SUCCESS;
}
"""
TESTS = """
import pytest

@pytest.mark.lab_driver("bell")
def test_it_rings(driver, prints):
    prints.expect(["bell: two rings"])

def test_of_no_driver():
    assert True
"""


def test_rounds_follow_saved_files(tmp_path: Path) -> None:
    project = tmp_path / "project"
    for name, text in {
        "lab.yaml": "drivers: [bell]\nsuites: [suites]\n",
        "bell/driver.yaml": MANIFEST,
        "bell/bell.c": SOURCE,
        "inc/rings.h": HEADER,
        "suites/test_bell.py": TESTS,
    }.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    screen = tmp_path / "screen.txt"
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    with screen.open("wb") as file:
        argv = [str(LAB), "run", "--guest", "wine", "--watch", "--workers", "1"]
        watching = subprocess.Popen(argv, cwd=project, env=environ, stdout=file, stderr=subprocess.STDOUT)

    def shown() -> str:
        return screen.read_text(encoding="utf-8", errors="replace")

    def after_round(number: int) -> str:
        """The screen of a round, once it waits for the next change."""

        def waits() -> bool:
            return shown().count("waiting for changes in ") >= number or watching.poll() is not None

        poll(f"round {number}", waits, timeout=900)
        assert watching.poll() is None, shown()
        return shown().rpartition(f"round {number - 1}: ")[2] if number > 1 else shown()

    try:
        first = after_round(1)
        assert "round 1: everything …" in first
        assert "round 1: All 2 tests passed, " in first

        (project / "inc" / "rings.h").write_text('#define RINGS "one ring"\n', encoding="utf-8")
        second = after_round(2)
        assert "round 2: rings.h changed: tests of bell …" in second
        assert "round 2: 1 product failure, " in second
        assert "product: suites/test_bell.py::test_it_rings" in second

        (project / "bell" / "bell.c").write_text(SOURCE.replace("DbgPrint(", "DbgPrnt(("), encoding="utf-8")
        third = after_round(3)
        assert "round 3: nothing was run, after " in third
        assert "bell.c" in third

        (project / "bell" / "bell.c").write_text(SOURCE, encoding="utf-8")
        assert "round 4: 1 product failure, " in after_round(4)

        (project / "suites" / "test_bell.py").write_text(TESTS.replace("two rings", "one ring"), encoding="utf-8")
        fifth = after_round(5)
        assert "round 5: test_bell.py changed: test_bell.py …" in fifth
        assert "round 5: All 2 tests passed, " in fifth
        assert (project / "out" / "latest" / "report.html").is_file()
    finally:
        watching.send_signal(signal.SIGINT)
        ended = watching.wait(120)
    assert ended == 0
    assert not list((project / "out").glob(".watch-*"))
