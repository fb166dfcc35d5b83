"""A user's project: drivers of one folder, their libraries and clients, and a disk that the guest writes to.

One guest serves all of it. `lab run --keep always` boots it, for a guest that writes to a file of the user's is not forked;
`lab run --watch --on` works on it from then on.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.host.process import run
from lab.report.model import RunReport
from tests.e2e.running import LAB, ROOT, poll

pytestmark = pytest.mark.e2e

_SECTOR = 512
_SECONDS = 900


def _environment(**more: str) -> dict[str, str]:
    """The environment without variables that make a nested pytest a worker of the outer one."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}, **more}


@dataclass
class Harbour:
    """The project, and what was run in it.

    Attributes:
        folder: The project's.
        first: The output of `lab run --keep always`.
        report: Its report.
        guest: Name of the guest that it left running.
        rounds: The screens of `lab run --watch --on`, round by round.
    """

    folder: Path
    first: subprocess.CompletedProcess[str]
    report: RunReport
    guest: str
    rounds: list[str] = field(default_factory=list)

    def lab(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return lab(self.folder, *arguments, **environ)

    def entry(self, sector: int) -> bytes:
        """The text in a sector of the logbook, read on the host."""
        content = (self.folder / "logbook.img").read_bytes()
        return content[sector * _SECTOR : (sector + 1) * _SECTOR].rstrip(b"\0")


def lab(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    argv = [str(LAB), *arguments]
    return subprocess.run(
        argv, cwd=folder, env=_environment(**environ), capture_output=True, text=True, timeout=_SECONDS, check=False
    )


def copy_project(folder: Path) -> None:
    """A copy of ``tests/e2e/harbour``, its library made and its suite under a name that pytest looks for."""
    shutil.copytree(ROOT / "tests" / "e2e" / "harbour", folder)
    (folder / "suites").mkdir()
    (folder / "suite.py").rename(folder / "suites" / "test_harbour.py")
    library = folder / "lib"
    run(["x86_64-w64-mingw32-gcc", "-O1", "-ffreestanding", "-c", "tide.c", "-o", "tide.o"], 60, cwd=library)
    run(["x86_64-w64-mingw32-ar", "rcs", "libtide.a", "tide.o"], 60, cwd=library)
    (folder / "logbook.img").write_bytes(b"logbook of the harbour".ljust(64 * _SECTOR, b"\0"))


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harbour]:
    folder = tmp_path_factory.mktemp("own") / "harbour"
    copy_project(folder)
    first = lab(folder, "run", "--guest", "wine", "--workers", "1", "--keep", "always")
    file = folder / "out" / "latest" / "run.json"
    assert file.exists(), first.stdout + first.stderr
    report = RunReport.model_validate_json(file.read_text(encoding="utf-8"))
    [name] = [guest.kept_as for guest in report.guests if guest.kept_as]
    try:
        yield Harbour(folder, first, report, name)
    finally:
        lab(folder, "down", name)


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def watch(harbour: Harbour, screen: Path, changes: list[Callable[[], None]]) -> list[str]:
    """Run `lab run --watch --on` for a first round and one for each change; returns the screen of each."""
    with screen.open("wb") as file:
        argv = [str(LAB), "run", "--watch", "--on", harbour.guest]
        watching = subprocess.Popen(argv, cwd=harbour.folder, env=_environment(), stdout=file, stderr=subprocess.STDOUT)

    def shown() -> str:
        return screen.read_text(encoding="utf-8", errors="replace")

    def await_round(number: int) -> None:
        def waits() -> bool:
            return shown().count("waiting for changes in ") >= number or watching.poll() is not None

        poll(f"round {number}", waits, timeout=_SECONDS)
        assert watching.poll() is None, shown()

    try:
        await_round(1)
        for number, change in enumerate(changes, 2):
            change()
            await_round(number)
    finally:
        watching.send_signal(signal.SIGINT)
        ended = watching.wait(120)
    assert ended == 0, shown()
    return re.split(r"(?=^lab run --watch, round )", shown(), flags=re.MULTILINE)[1:]


def test_a_set_by_folder_with_libraries_and_a_client_by_its_manifest(harbour: Harbour) -> None:
    assert harbour.first.returncode == 0, harbour.first.stdout + harbour.first.stderr
    assert harbour.report.totals == {"passed": 3}
    assert [driver.name for driver in harbour.report.drivers] == ["crane", "winch"]


def test_warnings_are_shown_of_the_driver_that_wants_them_shown(harbour: Harbour) -> None:
    warned = [line for line in harbour.first.stderr.splitlines() if "warning: " in line]
    assert len(warned) == 1
    assert warned[0].startswith("lab: winch: winch.c:3:14: warning: ‘unwound’ defined but not used")
    log = (harbour.folder / "out" / "latest" / "lab.log").read_text(encoding="utf-8")
    assert "winch: winch.c:3:14: warning: " in log


def test_the_guest_writes_to_the_users_own_disk(harbour: Harbour) -> None:
    assert harbour.entry(0) == b"logbook of the harbour"
    assert harbour.entry(1) == b"entry 1"
    assert not any(guest.template for guest in harbour.report.guests)
    disk = harbour.folder / "logbook.img"
    assert harbour.report.fork_notes == [
        f"guests are booted: the guest writes to {disk}, and forks cannot all write to the same file"
        " (`access: overlay` gives each guest an overlay of its own)"
    ]
    assert harbour.report.machine is not None
    assert [(one.access, one.format) for one in harbour.report.machine.disks] == [("write", "raw")]


def test_a_second_guest_of_one_written_disk_is_refused_with_the_line(harbour: Harbour) -> None:
    refused = harbour.lab("up", "--guest", "wine", f"{harbour.guest}-second")
    assert refused.returncode == 2, refused.stdout + refused.stderr
    disk = harbour.folder / "logbook.img"
    assert f"lab.yaml:5: vm.disks.0: another guest, or another program, has {disk} open" in refused.stderr
    assert "try: " in refused.stderr
    assert "lab ps" in refused.stderr


def test_rounds_on_a_guest_that_is_up(harbour: Harbour, tmp_path: Path) -> None:
    dock, tests = harbour.folder / "dock", harbour.folder / "suites" / "test_harbour.py"
    first, second, third, fourth, fifth = watch(
        harbour,
        tmp_path / "screen.txt",
        [
            lambda: replace(dock / "winch.c", "winch: ready", "winch: READY"),
            lambda: replace(dock / "winch.driver.yaml", "warnings: on", "warnings: some"),
            lambda: replace(dock / "winch.driver.yaml", "warnings: some", "warnings: errors"),
            lambda: replace(tests, "SECTOR = 1", "SECTOR = 2"),
        ],
    )
    assert "round 1: All 3 tests passed, " in first
    # The test of both is a test of the winch.
    assert "round 2: 1 product failure, " in second
    assert "product: suites/test_harbour.py::test_both_of_the_set_are_loaded" in second
    assert "winch: winch.c:3:14: warning: ‘unwound’ defined but not used" in second
    assert "round 3: nothing was run, after " in third
    assert "winch.driver.yaml:5: warnings: must be 'errors', 'on' or 'off'" in third
    assert "round 4: nothing was run, after " in fourth
    assert "error: ‘unwound’ defined but not used" in fourth
    assert "round 5: nothing was run, after " in fifth, "the driver still does not build"
    report = RunReport.model_validate_json((harbour.folder / "out" / "latest" / "run.json").read_text(encoding="utf-8"))
    assert f"guest {harbour.guest}, used by --on" in report.guest
    assert harbour.lab("run-in-guest", harbour.guest, "--", "echo still up").stdout.strip() == "still up"


def test_the_last_report_is_opened_in_the_browser_that_is_named(harbour: Harbour, tmp_path: Path) -> None:
    browser = tmp_path / "browser.sh"
    browser.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/opened.txt\n', encoding="ascii")
    browser.chmod(0o755)
    page = (harbour.folder / "out" / "latest" / "report.html").resolve()
    opened = harbour.lab("open", BROWSER=str(browser))
    assert (opened.returncode, opened.stdout.strip(), opened.stderr) == (0, str(page), "")
    assert (tmp_path / "opened.txt").read_text(encoding="utf-8").split() == [page.as_uri()]
    gone = harbour.lab("open", "out/gone", BROWSER=str(browser))
    assert (gone.returncode, "there is no folder out/gone" in gone.stderr) == (2, True)
