"""`lab kd attach` against a real serial port: the bare-metal target of ``target/`` in a QEMU under TCG."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab.errors import EvidenceLost, HostToolError, TransportError
from lab.guest.protocol import Transport
from lab.live.print_wiring import open_prints, print_ports, starts_paused
from lab.prints.record import GapRecord
from lab.vm.machine import VirtualMachine
from lab.vm.spec import Actions, KernelBoot, VmSpec
from tests.kdguest.guest import manifest
from tests.prints.kd.live import DEADLINE_S, attached, decode, let_pass, lines, wait_for
from tests.prints.kd.target.build import build_target

pytestmark = pytest.mark.e2e


DRIVER = r"\SystemRoot\system32\drivers\target.sys"


#: Pointers of a 32-bit target are sign-extended on the wire.
BASE = 0xFFFFFFFF_F7A40000


#: A target that does not give up a print while its host's disk stands still for some seconds: seen on Debian 13, with 20 tries.
PATIENT = "retries=400"


def test_no_print_of_a_flood_is_lost(target: Path, tmp_path: Path) -> None:
    count = int(os.environ.get("LAB_KD_PRINTS", "5000"))
    with attached(target, tmp_path, f"scenario=flood count={count} length=40 cpus=4 {PATIENT}") as live:
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


def test_no_print_of_a_flood_is_lost_while_the_reader_pauses_for_five_seconds(
    target: Path, tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    count = int(os.environ.get("LAB_KD_PRINTS", "8000"))
    with attached(target, tmp_path, f"scenario=flood count={count} length=40 cpus=4 {PATIENT}", reader="pipe") as live:
        assert live.client.stdout
        records: list[dict[str, Any]] = []
        for line in live.client.stdout:
            records.append(json.loads(line))
            if len(records) == count // 4:
                raw_before = live.raw_size()
                let_pass(5)
                # The pipe is full by then: the target is still answered, and its bytes are kept.
                wait_for(partial(live.raw_grew, raw_before, 65536), "the target to be answered nevertheless")
                figure("bytes_while_nobody_read", live.raw_size() - raw_before)
        live.finish()
    prints = [record for record in records if record["kind"] == "print"]
    assert [bytes.fromhex(record["raw"]) for record in prints] == lines(count, 40)
    assert [record["kind"] for record in records if record["kind"] != "print"] == ["load", "unload", "end"]
    again = re.search(r"^end again=(\d+) ", live.report, re.MULTILINE)
    assert again
    figure("sent_again", int(again[1]))


def test_a_host_that_is_suspended_for_five_seconds_loses_nothing(target: Path, tmp_path: Path) -> None:
    count = 3000
    with attached(target, tmp_path, f"scenario=flood count={count} {PATIENT}") as live:
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
    # The answers that the target got, in the order of its requests.
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


def test_a_boots_print_source_follows_a_real_port_and_a_detached_guest_keeps_its_debugger(target: Path, tmp_path: Path) -> None:
    count = 3000
    spec = VmSpec(
        name="kd-target",
        memory_mb=32,
        boot=KernelBoot(target, append=f"scenario=flood count={count} {PATIENT}"),
        serials=print_ports(manifest()).serials,
        paused=starts_paused(manifest()),
        actions=Actions(reboot="shutdown"),
    )

    def no_transport() -> Transport:
        raise TransportError("a bare-metal target runs no programs")

    with VirtualMachine(spec, tmp_path / "run") as machine:
        machine.start()
        prints = open_prints(manifest(), machine, "utf-8", no_transport)
        # Collectors that other tests left to their guests have ended, and nothing waits for them.
        running = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
        [collector] = [child for child in running if "lab.prints.kd.attach" in child.cmdline()]
        prints.start()
        assert len(prints.wait(0, lambda records: len(records) >= 200, timeout=DEADLINE_S)) >= 200
        with pytest.raises(EvidenceLost, match="runs no programs"):
            prints.mark("t-0", timeout=1.0)
        prints.close()  # as of a detached guest, whose VM continues to run
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
