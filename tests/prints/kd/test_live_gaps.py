"""Prints of a real target that no host received: gaps of a host that was suspended or not attached."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.prints.kd.reconnect import STOOD_STILL_S
from tests.prints.kd.live import DEADLINE_S, ROOT, attached, let_pass, lines, wait_for

pytestmark = pytest.mark.e2e


def test_prints_that_the_target_gave_up_are_marked_by_a_gap(target: Path, tmp_path: Path) -> None:
    count = 2000
    # A wait of some seconds, so that only a suspended host, not a busy one, makes the target give up.
    options = f"scenario=flood count={count} drop=100 retries=2 polls=20480000"
    with attached(target, tmp_path, options) as live:
        wait_for(lambda: len(live.of("print")) > count // 10, "a tenth of the prints")
        live.client.send_signal(signal.SIGSTOP)
        wait_for(lambda: "gave-up" in live.report, "the target to give up")
        live.client.send_signal(signal.SIGCONT)
        live.finish()
    told = re.findall(r"^(?:gave-up|back) line=(\d+)$", live.report, re.MULTILINE)
    assert len(told) == 2, live.report
    given_up, back = int(told[0]), int(told[1])
    assert back == given_up + 101
    kinds = [record["kind"] for record in live.records]
    assert kinds.count("gap") == 1
    gap = kinds.index("gap")
    before = [bytes.fromhex(record["raw"]) for record in live.records[:gap]]
    after = [bytes.fromhex(record["raw"]) for record in live.records[gap:] if record["kind"] == "print"]
    # The print that was given up had arrived: the host was only late.
    assert before == lines(given_up + 1)
    assert after == [b"KDTARGET: Refreshing KD connection\n", *lines(count)[back:]]


def test_a_host_that_was_suspended_until_the_target_gave_up_wakes_it_and_marks_the_gap(target: Path, tmp_path: Path) -> None:
    # Four tries instead of a kernel's twenty: QEMU's port buffers some 280 bytes without a reader, which are six of these
    # packets, and then stops its guest in the middle of the next one.
    count = 3000
    with attached(target, tmp_path, f"scenario=flood count={count} wake=1 retries=4 polls=4096000") as live:
        wait_for(lambda: len(live.of("print")) > 1000, "the first prints")
        live.client.send_signal(signal.SIGSTOP)
        wait_for(lambda: "gave-up" in live.report, "the target to give up")
        let_pass(STOOD_STILL_S)
        live.client.send_signal(signal.SIGCONT)
        live.finish()
    told = [int(number) for number in re.findall(r"^(?:gave-up|back) line=(\d+)$", live.report, re.MULTILINE)]
    assert len(told) == 2, live.report
    given_up, back = told
    # The host knows that it was suspended; the answer to its break-in begins the ids anew.
    kinds = [record["kind"] for record in live.records if record["kind"] != "print"]
    assert kinds == ["gap", "gap", "exception", "load", "unload", "end"]
    assert live.prints == [*lines(given_up + 1), *lines(count)[back:]]


def test_prints_without_an_attached_host_are_a_gap_for_the_next_one(
    target: Path, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    """QEMU drops output to a socket without a client, and 20 tries of a kernel are over within a second."""
    count = 3000
    with attached(target, tmp_path, f"scenario=flood count={count} wake=1") as live:
        wait_for(lambda: len(live.of("print")) > 100, "the first prints")
        live.client.kill()
        live.client.wait()
        begin = time.monotonic()
        wait_for(lambda: "gave-up" in live.report, "the target to give up")
        figure("gave_up_after_s", round(time.monotonic() - begin, 2))
        assert "back" not in live.report
        argv = [sys.executable, "-m", "lab", "kd", "attach", "--jsonl", "--break-in"]
        argv += ["--socket", str(tmp_path / "run" / "serial0.sock")]
        second = tmp_path / "second.jsonl"
        with second.open("wb") as out:
            again = subprocess.run(argv, cwd=ROOT, stdout=out, stderr=subprocess.PIPE, timeout=DEADLINE_S, check=False)
        assert (again.returncode, again.stderr) == (0, b"")
    told = [int(number) for number in re.findall(r"^(?:gave-up|back) line=(\d+)$", live.report, re.MULTILINE)]
    assert len(told) == 2, live.report
    given_up, back = told
    assert given_up < back - 1, "prints were dropped while nobody was attached"
    records = [json.loads(line) for line in second.read_text(encoding="utf-8").splitlines()]
    kinds = [record["kind"] for record in records if record["kind"] not in ("print", "note")]
    assert kinds == ["gap", "exception", "load", "unload", "end"]
    prints = [record for record in records if record["kind"] == "print"]
    assert [bytes.fromhex(record["raw"]) for record in prints] == lines(count)[back:]
    assert records.index(prints[0]) > next(at for at, record in enumerate(records) if record["kind"] == "gap")


def test_a_long_suspension_of_the_host_is_reported_even_without_losses(
    target: Path, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    stop_s = float(os.environ.get("LAB_KD_STOP_S", "12"))
    count = 2000
    with attached(target, tmp_path, f"scenario=flood count={count}") as live:
        wait_for(lambda: len(live.of("print")) > 200, "the first prints")
        live.client.send_signal(signal.SIGSTOP)
        let_pass(stop_s)
        live.client.send_signal(signal.SIGCONT)
        live.finish()
    [gap] = live.of("gap")
    stood_still = re.search(r"did not run for (\d+) s", gap["reason"])
    assert stood_still
    assert int(stood_still[1]) >= stop_s - 1
    figure("gap", gap["reason"])
    figure("prints_lost", count - len(live.prints))
    # See above: this target is stopped by its port before it can give up.
    assert live.prints == lines(count)
