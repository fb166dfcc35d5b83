"""Breaks of a real target into its debugger: bugchecks, and a stop on request."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lab.prints.kd.control import CollectorControl
from lab.vm.machine import VirtualMachine
from lab.vm.spec import Actions, KernelBoot, SerialPort, VmSpec
from tests.prints.kd.live import DEADLINE_S, ROOT, Live, attached, wait_for

pytestmark = pytest.mark.e2e


BUGCHECK = {"code": 0xD1, "parameters": [0xF7A41234, 2, 0, 0xF7A40123]}


def check_bugcheck(live: Live) -> None:
    told = [record for record in live.records if record["kind"] != "note"]
    assert [record["kind"] for record in told[:6]] == ["print", "print", "print", "print", "bugcheck", "exception"]
    assert {key: told[4][key] for key in BUGCHECK} == BUGCHECK
    assert told[5]["code"] == 0x80000003


def test_a_bugcheck_is_reported_and_held_at_its_first_break(target: Path, tmp_path: Path) -> None:
    with attached(target, tmp_path, "scenario=bugcheck") as live:
        wait_for(lambda: live.of("exception"), "the break behind the bugcheck")
        live.machine.kill()
        assert live.client.wait(DEADLINE_S) == 0
    check_bugcheck(live)
    assert live.of("exception")[0]["action"] == "hold"
    assert "continue" not in live.report


def test_the_second_break_of_a_bugcheck_is_not_continued_for_ever(target: Path, tmp_path: Path) -> None:
    with attached(target, tmp_path, "scenario=bugcheck", "--bugcheck", "continue") as live:
        wait_for(lambda: len(live.of("exception")) == 2, "the second break")
        assert [record["action"] for record in live.of("exception")] == ["step", "hold"]
        assert live.client.poll() is None
        live.machine.kill()
        assert live.client.wait(DEADLINE_S) == 0
    check_bugcheck(live)
    assert "second-break" in live.report
    assert live.report.count("int3 status=") == 1


def test_a_target_with_a_bugcheck_is_restarted(target: Path, tmp_path: Path) -> None:
    with attached(target, tmp_path, "scenario=bugcheck", "--bugcheck", "reboot") as live:
        live.finish()
        reset = [event.name for event in live.machine.qmp.events() if event.name == "SHUTDOWN"] if live.machine.alive else []
    check_bugcheck(live)
    assert live.report.endswith("reboot\n")
    assert reset in ([], ["SHUTDOWN"])


def test_a_target_that_runs_already_and_says_nothing_is_broken_into_and_stopped_on_request(
    target: Path, tmp_path: Path
) -> None:
    spec = VmSpec(
        name="kd-target",
        memory_mb=32,
        boot=KernelBoot(target, append="scenario=idle"),
        serials=(SerialPort("socket"), SerialPort("file")),
        actions=Actions(reboot="shutdown"),
    )
    with VirtualMachine(spec, tmp_path / "run") as machine:
        machine.start()
        report = tmp_path / "run" / "serial1.log"
        wait_for(lambda: "idle" in report.read_text(encoding="ascii"), "the target to run without a debugger")
        control = tmp_path / "ctl"
        argv = [sys.executable, "-m", "lab", "kd", "attach", "--socket", str(tmp_path / "run" / "serial0.sock"), "--jsonl"]
        with (tmp_path / "records.jsonl").open("wb") as out, (tmp_path / "client.err").open("wb") as err:
            client = subprocess.Popen([*argv, "--control", str(control)], cwd=ROOT, stdout=out, stderr=err)
        try:
            live = Live(machine, client, tmp_path)
            wait_for(control.exists, "the host's control socket")
            host = CollectorControl(control)
            assert not host.status().heard
            assert host.break_in(DEADLINE_S)
            assert [record["kind"] for record in live.records] == ["gap", "exception", "note"]
            assert live.records[1]["action"] == "hold"
            assert "going on" not in live.report
            host.release()
            live.finish()
        finally:
            client.kill()
            client.wait()
    assert live.prints == [b"going on\n"]
    assert "stepped=1" in live.report
