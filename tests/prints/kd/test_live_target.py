"""`lab kd attach` against a real serial port: the bare-metal target of ``target/`` in a QEMU under TCG."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab.errors import EvidenceLost, HostToolError, TransportError
from lab.guest.protocol import Transport
from lab.live.print_wiring import open_prints, print_ports, starts_paused
from lab.prints.kd.control import CollectorControl
from lab.prints.kd.reconnect import STOOD_STILL_S
from lab.prints.record import GapRecord
from lab.vm.machine import VirtualMachine
from lab.vm.spec import Actions, KernelBoot, SerialPort, VmSpec
from tests.kdguest.guest import manifest
from tests.prints.kd.target.build import build_target

ROOT = Path(__file__).resolve().parents[3]
#: A few seconds each on an idle machine.
DEADLINE_S = 120.0
DRIVER = r"\SystemRoot\system32\drivers\target.sys"
#: Pointers of a 32-bit target are sign-extended on the wire.
BASE = 0xFFFFFFFF_F7A40000

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_target(tmp_path_factory.mktemp("kd-target"))


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """Keeps a figure with the test: a property in JUnit's file."""
    return lambda name, value: request.node.user_properties.append((name, value))


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
        """What the target told on its second port."""
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
            # The monitor tells whether somebody is connected: "unix:…,server=on" is followed by "<-> …" then.
            wait_for(lambda: client.poll() is not None or is_connected(machine), "the client's connection to the serial port")
            machine.cont()
            yield Live(machine, client, folder)
        finally:
            client.kill()
            client.wait()
            if client.stdout:
                client.stdout.close()


def is_connected(machine: VirtualMachine) -> bool:
    devices = {device["label"]: device["filename"] for device in machine.qmp.execute("query-chardev")}
    return not devices["serial0"].startswith("disconnected:")


def lines(count: int, length: int = 14) -> list[bytes]:
    return [(b"line %08d" % number).ljust(length - 1, b".") + b"\n" for number in range(count)]


def test_no_print_of_a_flood_is_lost(target: Path, tmp_path: Path) -> None:
    count = int(os.environ.get("LAB_KD_PRINTS", "5000"))
    with attached(target, tmp_path, f"scenario=flood count={count} length=40 cpus=4") as live:
        live.finish(DEADLINE_S + count / 20)
        records = live.records
    prints = live.of("print")
    assert live.prints == lines(count, 40)
    assert [record["cpu"] for record in prints[:5]] == [0, 1, 2, 3, 0]
    assert [record["kind"] for record in records if record["kind"] != "print"] == ["load", "unload", "end"]
    assert f"flooded lines={count}" in live.report.splitlines()
    # A capture decodes to what was seen live.
    decoded = decode(tmp_path / "raw.kd")
    assert [record["raw"] for record in decoded if record["kind"] == "print"] == [record["raw"] for record in prints]


def decode(raw: Path) -> list[dict[str, Any]]:
    argv = [sys.executable, "-m", "lab", "kd", "decode", "--jsonl", str(raw)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, check=True, timeout=DEADLINE_S)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_no_print_of_a_flood_is_lost_while_the_reader_stands_still_for_five_seconds(
    target: Path, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    count = int(os.environ.get("LAB_KD_PRINTS", "8000"))
    with attached(target, tmp_path, f"scenario=flood count={count} length=40 cpus=4", reader="pipe") as live:
        assert live.client.stdout
        records: list[dict[str, Any]] = []
        for line in live.client.stdout:
            records.append(json.loads(line))
            if len(records) == count // 4:
                raw_before = live.raw_size()
                let_pass(5)
                # The pipe is full by then: the target is answered, and its bytes are kept, all the same.
                wait_for(partial(live.raw_grew, raw_before, 65536), "the target to be answered nevertheless")
                figure("bytes_while_nobody_read", live.raw_size() - raw_before)
        live.finish()
    prints = [record for record in records if record["kind"] == "print"]
    assert [bytes.fromhex(record["raw"]) for record in prints] == lines(count, 40)
    assert [record["kind"] for record in records if record["kind"] != "print"] == ["load", "unload", "end"]
    again = re.search(r"^end again=(\d+) ", live.report, re.MULTILINE)
    assert again
    figure("sent_again", int(again[1]))


def test_a_host_that_stands_still_for_five_seconds_loses_nothing(target: Path, tmp_path: Path) -> None:
    count = 3000
    with attached(target, tmp_path, f"scenario=flood count={count}") as live:
        wait_for(lambda: len(live.of("print")) > count // 10, "a tenth of the prints")
        live.client.send_signal(signal.SIGSTOP)
        seen = live.size()
        let_pass(5)
        assert live.size() == seen
        assert "flooded" not in live.report
        live.client.send_signal(signal.SIGCONT)
        live.finish()
    assert live.prints == lines(count)
    assert live.of("gap") == []
    again = re.search(r"^end again=(\d+) ", live.report, re.MULTILINE)
    assert again
    assert int(again[1]) > 0, "the target did send packets again, and none of them became a second print"


def test_prints_that_the_target_gave_up_are_marked_by_a_gap(target: Path, tmp_path: Path) -> None:
    count = 2000
    # A wait of some seconds, so that only a host that stands still, not a busy machine, makes the target give up.
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
    # The print that was given up had arrived: the host was late, not deaf.
    assert before == lines(given_up + 1)
    assert after == [b"KDTARGET: Refreshing KD connection\n", *lines(count)[back:]]


def test_a_host_that_stood_still_until_the_target_gave_up_wakes_it_and_marks_the_gap(target: Path, tmp_path: Path) -> None:
    # Four tries instead of a kernel's twenty: QEMU's port takes some 280 bytes that nobody reads, which are six of these
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
    # The host knows that it stood still; what answers its break-in begins the ids anew.
    kinds = [record["kind"] for record in live.records if record["kind"] != "print"]
    assert kinds == ["gap", "gap", "exception", "load", "unload", "end"]
    assert live.prints == [*lines(given_up + 1), *lines(count)[back:]]


def test_what_is_printed_while_no_host_is_attached_is_a_gap_for_the_next_one(
    target: Path, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    """QEMU throws away what goes to a socket without a client, and 20 tries of a kernel are over within a second."""
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


def test_a_host_that_stood_still_for_long_says_so_even_where_nothing_is_lost(
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
    stood_still = re.search(r"stood still for (\d+) s", gap["reason"])
    assert stood_still
    assert int(stood_still[1]) >= stop_s - 1
    figure("gap", gap["reason"])
    figure("prints_lost", count - len(live.prints))
    # See above: this target is stopped by its port before it can give up.
    assert live.prints == lines(count)


def test_everything_that_waits_for_the_host_is_answered(target: Path, tmp_path: Path) -> None:
    with attached(target, tmp_path, "scenario=stops") as live:
        live.finish()
    assert live.prints == [b"first\n", b"damaged once\n", b"sent twice\n", b"done\n"]
    text = b"".join(bytes.fromhex(record["raw"]) for record in live.of("console"))
    assert text.startswith(b"loader: 0000 found, iiii missing, 00")
    told = [record for record in live.records if record["kind"] not in {"print", "console", "note", "end"}]
    assert [record["kind"] for record in told] == ["load", "exception", "prompt", "exception", "unload", "unload"]
    load, int3, prompt, fault, unload, last = told
    assert (load["path"], load["base"], load["size"]) == (DRIVER, BASE, 0x6000)
    assert (int3["cpu"], int3["code"], int3["address"], int3["first_chance"]) == (0, 0x80000003, 0xFFFFFFFF_80412345, True)
    assert (prompt["cpu"], bytes.fromhex(prompt["raw"])) == (0, b"Break, Ignore (bi)? ")
    assert (fault["code"], fault["first_chance"]) == (0xC0000005, False)
    assert (unload["path"], unload["base"]) == (DRIVER, BASE)
    assert (last["path"], last["base"]) == ("", 0xFFFFFFFF_FFFFFFFF)
    # What the target got, in the order of its questions.
    for pattern in (
        r"load status=00010002",
        r"setcontext eip=80412346",
        r"continue api=313c status=0001000[12] trace=0 dr7=00000400",
        r"int3 status=0001000[12] stepped=1 eip=80412346",
        r"prompt api=3231 length=1 reply=i",
        r"file api=3430 status=c0000001",
        r"command status=0001000[12]",
        r"exception code=c0000005 status=80010001",
        r"unload status=0001000[12]",
        r"end again=\d+ resends=[1-9]\d* resets=0 break-ins=0",
    ):
        assert re.search(f"^{pattern}$", live.report, re.MULTILINE), f"{pattern} in:\n{live.report}"
    assert live.report.count("int3 ") == 1


BUGCHECK = {"code": 0xD1, "parameters": [0xF7A41234, 2, 0, 0xF7A40123]}


def check_bugcheck(live: Live) -> None:
    told = [record for record in live.records if record["kind"] != "note"]
    assert [record["kind"] for record in told[:6]] == ["print", "print", "print", "print", "bugcheck", "exception"]
    assert {key: told[4][key] for key in BUGCHECK} == BUGCHECK
    assert told[5]["code"] == 0x80000003


def test_a_bugcheck_is_told_and_held_at_its_first_break(target: Path, tmp_path: Path) -> None:
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


def test_a_boots_print_source_follows_a_real_port_and_leaves_a_kept_guest_its_debugger(target: Path, tmp_path: Path) -> None:
    count = 3000
    spec = VmSpec(
        name="kd-target",
        memory_mb=32,
        boot=KernelBoot(target, append=f"scenario=flood count={count}"),
        serials=print_ports(manifest()).serials,
        paused=starts_paused(manifest()),
        actions=Actions(reboot="shutdown"),
    )

    def no_transport() -> Transport:
        raise TransportError("a bare-metal target runs no programs")

    with VirtualMachine(spec, tmp_path / "run") as machine:
        machine.start()
        prints = open_prints(manifest(), machine, "utf-8", no_transport)
        [collector] = [child for child in psutil.Process().children() if "lab.prints.kd.attach" in child.cmdline()]
        prints.start()
        assert len(prints.wait(0, lambda records: len(records) >= 200, timeout=DEADLINE_S)) >= 200
        with pytest.raises(EvidenceLost, match="runs no programs"):
            prints.mark("t-0", timeout=1.0)
        prints.close()  # as of a guest that is kept: its machine runs on
        assert not [record for record in prints.records_since(0) if isinstance(record, GapRecord)]
        assert collector.is_running()
        assert machine.wait_exit(DEADLINE_S) == 0
        wait_for(lambda: collector.status() == psutil.STATUS_ZOMBIE, "the collector to end behind its machine")
    told = [json.loads(line) for line in (tmp_path / "run" / "kd.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [bytes.fromhex(record["raw"]) for record in told if record["kind"] == "print"] == lines(count)
    assert told[-1]["kind"] == "end"


def test_a_missing_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostToolError, match="i686-w64-mingw32-gcc: there is no such program") as caught:
        build_target(tmp_path / "out")
    assert "gcc-mingw-w64-i686" in caught.value.hint
