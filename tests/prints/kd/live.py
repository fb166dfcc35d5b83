"""The bare-metal target in a QEMU, and `lab kd attach` beside it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab.prints.kd.process import RAW_FILE
from lab.vm.machine import VirtualMachine
from lab.vm.spec import Actions, KernelBoot, SerialPort, VmSpec

ROOT = Path(__file__).resolve().parents[3]
#: A few seconds each on an idle host.
DEADLINE_S = 120.0


def wait_for(condition: Callable[[], Any], what: str, timeout: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout:.0f} s for: {what}"
        time.sleep(0.01)


def let_pass(seconds: float) -> None:
    begin = time.monotonic()
    wait_for(lambda: time.monotonic() - begin > seconds, f"{seconds:.0f} s to pass")


@dataclass(frozen=True, slots=True)
class Live:
    """A target and the host process that is attached to it."""

    machine: VirtualMachine
    client: subprocess.Popen[bytes]
    folder: Path

    @property
    def report(self) -> str:
        """What the target reported on its second port."""
        return (self.folder / "run" / "serial1.log").read_text(encoding="ascii")

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records so far; a line that is being written is left out."""
        lines = (self.folder / "records.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines]

    @property
    def prints(self) -> list[bytes]:
        return [bytes.fromhex(record["raw"]) for record in self.of("print")]

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["kind"] in kinds]

    def size(self) -> int:
        return (self.folder / "records.jsonl").stat().st_size

    def raw_grew(self, since: int, by: int) -> bool:
        return self.raw_size() - since > by

    def raw_size(self) -> int:
        return (self.folder / "raw.kd").stat().st_size

    def finish(self, timeout: float = DEADLINE_S) -> None:
        """Wait until the target has powered itself off and the client has seen that."""
        try:
            code = self.client.wait(timeout)
        except subprocess.TimeoutExpired:
            pytest.fail(f"after {timeout:.0f} s the client still runs; the target said:\n{self.report[-2000:]}")
        errors = (self.folder / "client.err").read_text(encoding="utf-8")
        assert (code, errors) == (0, "")
        assert self.machine.wait_exit(DEADLINE_S) == 0


@contextmanager
def attached(target: Path, folder: Path, options: str, *arguments: str, reader: str = "file") -> Iterator[Live]:
    """The target and its host, connected before the target's first instruction; its records in a file, or in a pipe."""
    spec = VmSpec(
        name="kd-target",
        memory_mb=32,
        boot=KernelBoot(target, append=options),
        serials=(SerialPort("socket"), SerialPort("file")),
        paused=True,
        actions=Actions(reboot="shutdown"),
    )
    with VirtualMachine(spec, folder / "run") as machine:
        machine.start()
        port = folder / "run" / "serial0.sock"
        argv = [sys.executable, "-m", "lab", "kd", "attach", "--socket", str(port), "--jsonl"]
        argv += ["--raw", str(folder / "raw.kd"), *arguments]
        with (folder / "records.jsonl").open("wb") as out, (folder / "client.err").open("wb") as err:
            client = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE if reader == "pipe" else out, stderr=err)
        try:
            # The monitor shows whether a client is connected: "unix:…,server=on" is followed by "<-> …" then.
            wait_for(lambda: client.poll() is not None or is_connected(machine), "the client's connection to the serial port")
            machine.cont()
            yield Live(machine, client, folder)
        finally:
            client.kill()
            client.wait()
            if client.stdout:
                client.stdout.close()


def users_of(folder: Path, name: str = "", *, owner: int | None = None) -> list[psutil.Process]:
    """The processes that have a file of a folder open.

    Args:
        folder: The folder, with all below it.
        name: The file's name; empty: any.
        owner: Only children of this process and theirs; None: of the test's.
    """
    found = []
    for child in psutil.Process(owner).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            files = [Path(file.path) for file in child.open_files()]
            if any(file.is_relative_to(folder) and name in ("", file.name) for file in files):
                found.append(child)
    return found


def collector_of(run_dir: Path, *, owner: int | None = None) -> psutil.Process:
    """The process that serves the debugger port of a guest: the one that keeps its bytes."""
    [one] = users_of(run_dir, RAW_FILE, owner=owner)
    return one


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def is_connected(machine: VirtualMachine) -> bool:
    devices = {device["label"]: device["filename"] for device in machine.qmp.execute("query-chardev")}
    return not devices["serial0"].startswith("disconnected:")


def lines(count: int, length: int = 14) -> list[bytes]:
    return [(b"line %08d" % number).ljust(length - 1, b".") + b"\n" for number in range(count)]


def decode(raw: Path) -> list[dict[str, Any]]:
    argv = [sys.executable, "-m", "lab", "kd", "decode", "--jsonl", str(raw)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, check=True, timeout=DEADLINE_S)
    return [json.loads(line) for line in done.stdout.splitlines()]
