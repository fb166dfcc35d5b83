"""Forks of a kernel that prints through its debugger's port: the bare-metal target of ``target/``, on a real serial port.

One guest becomes one template; all tests of this module fork it. It prints numbered lines from its first instruction on, before
and after the snapshot, so that a line that is lost or doubled is seen.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from lab.errors import TransportError
from lab.guest.protocol import Transport
from lab.host.accel import QEMU
from lab.host.qemu import probe_features
from lab.live.print_wiring import open_prints, print_ports, starts_paused
from lab.prints.kd.control import CollectorControl
from lab.prints.kd.process import CONTROL_SOCKET
from lab.prints.kd.record import Gap, from_json
from lab.prints.kd.resumable import ids_of, state_of
from lab.prints.record import GapRecord, PrintRecord, PrintSource, Record
from lab.prints.resume import PrintsState, ResumableSource
from lab.vm.machine import VirtualMachine
from lab.vm.ramfile import RamFile
from lab.vm.snapshot import Snapshot, fork, take_snapshot
from lab.vm.spec import Actions, KernelBoot, VmSpec
from tests.kdguest.guest import manifest
from tests.prints.kd.live import DEADLINE_S, ROOT, collector_of, gone, lines, users_of, wait_for

pytestmark = pytest.mark.e2e

#: More lines than any test waits for.
COUNT = 1_000_000
#: Lines of a fork that are compared.
OWN = 30
FORKS = int(os.environ.get("LAB_KD_FORKS", "50"))


@dataclass(frozen=True, slots=True)
class Frozen:
    """A template of the target.

    Attributes:
        folder: Its snapshot.
        state: What its print channel saved.
        printed: Lines that were printed before.
        waited: How often the guest was stopped with a packet or an answer on its way.
    """

    folder: Path
    snapshot: Snapshot
    state: PrintsState
    printed: int
    waited: int


def no_transport() -> Transport:
    raise TransportError("a bare-metal target runs no programs")


def resumable(prints: PrintSource) -> ResumableSource:
    assert prints.resumable is not None
    return prints.resumable


def printed(records: list[Record]) -> list[bytes]:
    return [record.raw for record in records if isinstance(record, PrintRecord)]


def freeze(target: Path, folder: Path, *, rest: int, forced: bool = False) -> Frozen:
    """Boot the target, and take its snapshot while it prints.

    Args:
        rest: Status reads between two lines.
        forced: Take it with a packet or an answer on its way, as no template is taken.
    """
    ram = RamFile(32)
    spec = VmSpec(
        name="kd-template",
        memory_mb=32,
        memory=ram.memory,
        boot=KernelBoot(target, append=f"scenario=flood count={COUNT} rest={rest}"),
        serials=print_ports(manifest()).serials,
        paused=starts_paused(manifest()),
        actions=Actions(reboot="shutdown"),
    )
    folder.mkdir()
    with VirtualMachine(spec, Path(tempfile.mkdtemp(prefix="kd-", dir=folder))) as machine:
        machine.start()
        prints = open_prints(manifest(), machine, "utf-8", no_transport)
        prints.start()
        assert prints.wait(0, lambda records: len(records) >= 50, timeout=DEADLINE_S)
        state, waited = None, 0
        while state is None:
            assert waited < 5000, "the target was never stopped between two packets"
            machine.pause()
            state = resumable(prints).snapshot_state()
            if forced:
                state = _forced(machine) if state is None else None
            if state is None:
                waited += not forced
                machine.cont()
        snapshot = take_snapshot(machine, folder, ram=ram, features=probe_features(QEMU))
        prints.close()
    ram.close()
    assert not [record for record in prints.records_since(0) if isinstance(record, GapRecord)]
    before = printed(prints.records_since(0))
    assert before == lines(len(before))
    return Frozen(folder, snapshot, state, len(before), waited)


def _forced(machine: VirtualMachine) -> PrintsState:
    return state_of(CollectorControl(machine.run_dir / CONTROL_SOCKET).status().ids)


@pytest.fixture(scope="module")
def frozen(target: Path, tmp_path_factory: pytest.TempPathFactory) -> Frozen:
    return freeze(target, tmp_path_factory.mktemp("kd") / "template", rest=20_000)


@contextmanager
def forked(frozen: Frozen, run_dir: Path, state: PrintsState | None = None) -> Iterator[tuple[VirtualMachine, PrintSource]]:
    """A fork that runs, and its print source."""
    machine = fork(frozen.snapshot, frozen.folder, run_dir, name=run_dir.name)
    with machine:
        prints = open_prints(manifest(), machine, "utf-8", no_transport, resume=state or frozen.state)
        prints.start()
        try:
            resumable(prints).resume(0.0, bytes(32), let_run=machine.cont, timeout=DEADLINE_S)
            yield machine, prints
        finally:
            machine.kill()
            prints.close()


def own_lines(prints: PrintSource, count: int = OWN) -> list[bytes]:
    """The first lines of a fork."""
    return printed(prints.wait(0, lambda records: len(printed(records)) >= count, timeout=DEADLINE_S))[:count]


def goes_on(frozen: Frozen, run_dir: Path) -> None:
    """A fork's lines continue those of the template: none is lost and none comes twice."""
    with forked(frozen, run_dir) as (_, prints):
        assert own_lines(prints) == lines(frozen.printed + OWN)[frozen.printed :]
        assert not [record for record in prints.records_since(0) if isinstance(record, GapRecord)]


def test_no_line_of_fifty_forks_is_lost_or_doubled_two_at_a_time(frozen: Frozen, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as two:
        for done in [two.submit(goes_on, frozen, tmp_path / f"fork{number}") for number in range(FORKS)]:
            done.result()
    # QEMU's supervisor ends a moment after it.
    wait_for(lambda: users_of(tmp_path) == [], "the end of all processes of the forks")


def test_a_guest_that_prints_all_the_time_is_stopped_between_two_packets(target: Path, tmp_path: Path) -> None:
    """Most stops find a packet on its way: such a moment is not taken (a forced one: the next test)."""
    busy = freeze(target, tmp_path / "template", rest=0)
    for number in range(3):
        goes_on(busy, tmp_path / f"fork{number}")


def test_a_snapshot_with_a_packet_on_its_way_loses_and_doubles_nothing_either(target: Path, tmp_path: Path) -> None:
    """No template is taken then. The kernel repeats what was not answered, and its repetition is recognised."""
    torn = freeze(target, tmp_path / "template", rest=0, forced=True)
    with forked(torn, tmp_path / "fork") as (_, prints):
        mine = own_lines(prints)
        first = lines(torn.printed + 1).index(mine[0])
        # The collector of the template may have recorded the line whose answer was on its way, and no other.
        assert first == torn.printed
        assert mine == lines(first + OWN)[first:]


def test_a_first_packet_that_does_not_continue_the_ids_is_a_gap(frozen: Frozen, tmp_path: Path) -> None:
    ids = ids_of(frozen.state)
    assert ids.receive is not None
    other = state_of(replace(ids, receive=ids.receive ^ 1))
    with forked(frozen, tmp_path / "fork", other) as (_, prints):
        assert own_lines(prints) == lines(frozen.printed + OWN)[frozen.printed :]
        gap, *rest = [record for record in prints.records_since(0) if isinstance(record, GapRecord)]
    assert "the first packet after the snapshot does not have the next id" in gap.reason
    assert rest == []


def test_a_killed_collector_is_a_gap_of_its_fork_alone(frozen: Frozen, tmp_path: Path) -> None:
    with forked(frozen, tmp_path / "one") as (_, one), forked(frozen, tmp_path / "other") as (_, other):
        own_lines(one)
        collector_of(tmp_path / "one").kill()
        records = one.wait(0, lambda new: any(isinstance(record, GapRecord) for record in new), timeout=DEADLINE_S)
        assert "the collector of the debugger port ended" in str(records[-1])
        count = len(printed(other.records_since(0))) + OWN
        assert own_lines(other, count) == lines(frozen.printed + count)[frozen.printed :]
    goes_on(frozen, tmp_path / "next")


#: What a worker does: it makes a fork, and then runs tests in it.
_OWNER = """
import json, sys, time
from pathlib import Path
from lab.prints.resume import PrintsState
from lab.vm.snapshot import load_snapshot
from tests.prints.kd.test_live_forks import Frozen, forked
folder, run_dir, state = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
frozen = Frozen(folder, load_snapshot(folder), PrintsState(**state), 0, 0)
with forked(frozen, run_dir) as (machine, prints):
    print(machine.pid, flush=True)
    time.sleep(600)
"""


def test_a_killed_owner_leaves_no_vm_and_no_collector_and_the_lines_until_then(frozen: Frozen, tmp_path: Path) -> None:
    run_dir, file = tmp_path / "fork", tmp_path / "fork" / "kd.jsonl"
    state = json.dumps({"numbers": dict(frozen.state.numbers), "texts": dict(frozen.state.texts)})
    argv = [sys.executable, "-c", _OWNER, str(frozen.folder), str(run_dir), state]
    owner = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE)
    assert owner.stdout
    try:
        machine = psutil.Process(int(owner.stdout.readline()))
        wait_for(lambda: file.exists() and file.read_bytes().count(b"\n") > OWN, "the first lines of the fork")
        collector = collector_of(run_dir, owner=owner.pid)
        owner.send_signal(signal.SIGKILL)
        owner.wait(DEADLINE_S)
    finally:
        owner.kill()
        owner.stdout.close()
    for process in (machine, collector):
        wait_for(partial(gone, process), f"the end of {process}")
    records = [from_json(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert not [record for record in records if isinstance(record, Gap)]
    mine = [bytes.fromhex(json.loads(line)["raw"]) for line in file.read_text().splitlines() if '"print"' in line]
    assert mine == lines(frozen.printed + len(mine))[frozen.printed :]
    goes_on(frozen, tmp_path / "next")
