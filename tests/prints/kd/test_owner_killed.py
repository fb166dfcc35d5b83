"""The collector is a process of its own: it outlives the process that started it, and its VM only for a moment."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.prints.kd.live import DEADLINE_S, ROOT, lines, wait_for
from tests.prints.kd.target.build import build_target

pytestmark = pytest.mark.e2e

#: What a test process does: it starts a VM and its collector, and then runs tests.
_OWNER = """
import json, sys, time
from pathlib import Path
from lab.prints.kd.channel import wait_connected
from lab.prints.kd.process import start_collector
from lab.vm.machine import VirtualMachine
from lab.vm.spec import Actions, KernelBoot, SerialPort, VmSpec

target, folder, detached, options = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "detached", sys.argv[4]
spec = VmSpec(
    name="kd-target",
    memory_mb=32,
    boot=KernelBoot(target, append=options),
    serials=(SerialPort("socket"), SerialPort("file")),
    paused=True,
    actions=Actions(reboot="shutdown"),
)
machine = VirtualMachine(spec, folder)
machine.start(detached=detached)
collector = start_collector(folder / "serial0.sock", folder)
wait_connected(machine, 0, collector, timeout=60)
machine.cont()
print(json.dumps([machine.pid, collector.process.pid]), flush=True)
time.sleep(600)
"""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that owns a VM and its collector."""

    process: subprocess.Popen[bytes]
    machine: psutil.Process
    collector: psutil.Process
    folder: Path

    @property
    def records(self) -> list[dict[str, Any]]:
        text = (self.folder / "kd.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.split("\n")[:-1]]

    @property
    def prints(self) -> list[bytes]:
        return [bytes.fromhex(record["raw"]) for record in self.records if record["kind"] == "print"]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE_S)


@contextmanager
def owner(folder: Path, kind: str, options: str) -> Iterator[Owner]:
    target = build_target(folder / "build")
    (folder / "run").mkdir()
    argv = [sys.executable, "-c", _OWNER, str(target), str(folder / "run"), kind, options]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout
    started = process.stdout.readline()
    assert started, f"the owner ended with {process.wait(DEADLINE_S)}"
    machine, collector = (psutil.Process(pid) for pid in json.loads(started))
    try:
        yield Owner(process, machine, collector, folder / "run")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        for left in (machine, collector):
            if left.is_running():
                left.kill()


def gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it went away between the two questions
        return True


def test_a_collector_runs_without_its_owner_until_its_vm_ends(tmp_path: Path) -> None:
    count = 8000
    with owner(tmp_path, "detached", f"scenario=flood count={count}") as owned:
        wait_for(lambda: len(owned.prints) > 200, "the first prints")
        owned.kill()
        seen = len(owned.prints)
        assert seen < count
        wait_for(lambda: gone(owned.machine), "the target to power itself off")
        wait_for(lambda: gone(owned.collector), "the collector to end behind its machine")
        assert owned.prints == lines(count)
        assert [record["kind"] for record in owned.records[-3:]] == ["load", "unload", "end"]
        assert (owned.folder / "kd.log").read_text() == ""
        assert not (owned.folder / "kd.ctl").exists()


def test_killing_the_owner_ends_its_vm_and_leaves_no_process(tmp_path: Path) -> None:
    with owner(tmp_path, "owned", "scenario=flood count=1000000") as owned:
        wait_for(lambda: len(owned.prints) > 200, "the first prints")
        owned.kill()
        wait_for(lambda: gone(owned.machine), "the machine to end with its owner")
        wait_for(lambda: gone(owned.collector), "the collector to end behind its machine")
        prints = owned.prints
        assert prints == lines(len(prints))
        assert owned.records[-1]["kind"] == "end"
        assert owned.records[-1]["complete"] is True
