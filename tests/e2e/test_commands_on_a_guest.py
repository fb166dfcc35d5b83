"""`lab put`, `get`, `prints`, `debug` and `run --on` against one guest that is up, as a user uses them side by side."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import LAB, ROOT, launch, poll

pytestmark = pytest.mark.e2e

NAME = f"commands-{os.getpid()}"
READER = r"C:\lab\run\sync_reader.exe"
FIVE = "test_the_first_five_reads_deliver_the_five_strings"


def lab(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(LAB), *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def guest() -> Iterator[str]:
    """A fork with the sync driver loaded."""
    lab("fork", NAME, "--load", "sync")
    yield NAME
    lab("down", NAME, check=False)


def start(output: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a command in the background; its output goes to a file."""
    with output.open("wb") as file:
        return subprocess.Popen([str(LAB), *arguments], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)


def said(output: Path, text: str) -> bool:
    return text in output.read_text(encoding="utf-8", errors="replace")


def test_files_are_copied_both_ways_and_nothing_is_overwritten_unasked(guest: str, tmp_path: Path) -> None:
    source = tmp_path / "settings.ini"
    source.write_bytes(b"one\r\n")
    lab("put", guest, str(source), "C:\\data\\")
    lab("get", guest, r"C:\data\settings.ini", str(tmp_path / "back.ini"))
    assert (tmp_path / "back.ini").read_bytes() == b"one\r\n"
    source.write_bytes(b"two\r\n")
    refused = lab("put", guest, str(source), "C:\\data\\", check=False)
    assert refused.returncode == 2
    assert r"has C:\data\settings.ini with other content" in refused.stderr
    lab("put", guest, str(source), "C:\\data\\", "--overwrite")
    assert lab("run-in-guest", guest, "--", r"type C:\data\settings.ini").stdout.splitlines() == ["two"]
    gone = lab("get", guest, r"C:\data\nothing.txt", check=False)
    assert (gone.returncode, f"guest {guest} has no " in gone.stderr) == (2, True)


def test_prints_are_followed_as_they_come(guest: str, tmp_path: Path) -> None:
    output = tmp_path / "prints.txt"
    following = start(output, "prints", guest, "-f")
    try:
        lab("run-in-guest", guest, "--", READER)
        poll("the print of a read", lambda: said(output, "读字节长度: 20"), timeout=60)
    finally:
        following.send_signal(signal.SIGINT)
    assert following.wait(60) == 0
    [line] = [one for one in lab("prints", guest, "--tail", "1").stdout.splitlines() if one]
    assert line.split()[1] in ("ERROR", "WARN", "TRACE", "INFO")
    assert line.endswith("读字节长度: 20")


def test_gdb_stops_in_the_drivers_source_and_the_guest_continues(guest: str, tmp_path: Path) -> None:
    output = tmp_path / "gdb.txt"
    debugging = start(
        output, "debug", guest, "--break", "DispatchRead", "--batch", "-c", "bt 1", "-c", "p irp->IoStatus.Status", "-c", "list"
    )
    poll("gdb's breakpoint", lambda: said(output, "the guest runs until") or debugging.poll() is not None, timeout=120)
    assert lab("run-in-guest", guest, "--", READER).stdout.count("hi, lyshark") == 5
    assert debugging.wait(120) == 0, output.read_text(encoding="utf-8")
    text = output.read_text(encoding="utf-8")
    assert "DispatchRead (device=0x" in text
    assert "at sync.c:" in text.replace(str(ROOT), "")
    assert "$1 = 0" in text
    wrong = lab("debug", guest, "--break", "DispatchRaed", "--batch", check=False)
    assert (wrong.returncode, "known are DispatchRead" in wrong.stderr) == (2, True)


def test_a_run_on_the_guest_leaves_it_up_and_can_be_watched(guest: str, tmp_path: Path) -> None:
    run = launch(tmp_path / "out", "--on", guest, "suites/sync", "-k", FIVE)
    poll("a guest of the run", lambda: any((run.out / "workers").glob("*.prints.jsonl")), timeout=300)
    seen = start(tmp_path / "seen.txt", "prints", "gw0", "-f", "--run", str(run.out))
    finished = run.finish()
    assert finished.exit_code == 0, finished.output
    assert seen.wait(60) == 0
    assert (tmp_path / "seen.txt").read_text(encoding="utf-8").startswith("=== gw0-1\n")
    assert said(tmp_path / "seen.txt", "读字节长度: 20")
    report = finished.report
    assert f"guest {guest}, used by --on" in report.guest
    assert [entry.template for entry in report.guests] == [""]
    # Its prints from before the run belong to no test.
    assert len(finished.tests("passed")[0].prints) == 5
    assert report.unattributed_prints == 0
    log = (run.out / "lab.log").read_text(encoding="utf-8")
    assert "lab INFO lab.cli.open_log: " in log
    assert "gw0 INFO lab.lease.starter: gw0-1 is ready after" in log
    assert lab("run-in-guest", guest, "--", "echo still up").stdout.strip() == "still up"
    refused = lab("run", "--on", guest, "--workers", "2", "suites/sync", check=False)
    assert (refused.returncode, "there is only one guest" in refused.stderr) == (2, True)
    gone = lab("run", "--on", "nobody", "suites/sync", check=False)
    assert (gone.returncode, "no guest 'nobody' is running" in gone.stderr) == (2, True)
