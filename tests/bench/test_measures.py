"""What each measure makes of a simulated guest, and what it says when something is not there."""

from __future__ import annotations

import json
import socket
import stat
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.bench.kdtarget import print_all
from lab.bench.measures import all_measures
from lab.bench.measures import loop as loop_module
from lab.bench.measures.boot import BootMeasure
from lab.bench.measures.files import append_chunk, copies, media_of
from lab.bench.measures.kd import KdMeasure, decode, live, synthetic_capture
from lab.bench.measures.loop import LoopMeasure, prepare_before
from lab.bench.measures.memory import pss_of
from lab.bench.measures.peer import PeerMeasure, boot_once, find_peer, peer_job
from lab.bench.measures.prints import count_up
from lab.bench.measures.suites import EVERYTHING, SuitesMeasure, SuitesRun, plain_environment
from lab.bench.measures.winrm import COMMANDS, Client, Command, guest_port, take_turns
from lab.bench.protocol import NotHere
from lab.bench.samples import Samples
from lab.errors import EvidenceLost, HostToolError, LabError, TransportError
from lab.image.manifest import Credentials, MachineSpec, usual_offers
from lab.live.guest import LiveGuest
from lab.prints.kd.packet import RESET, control_packet
from lab.prints.kd.record import Print
from lab.prints.kd.session import Session
from lab.prints.record import GapRecord, PrintRecord
from tests.bench.fakes import FakeContext, FakeForks, TickingClock
from tests.simulated import manifest

ROOT = Path(__file__).resolve().parents[2]


def keys(found: Samples) -> list[str]:
    return [one.key for one in found.series]


def test_measures_have_names_of_their_own_and_say_what_they_need() -> None:
    measures = all_measures()
    assert len({one.name for one in measures}) == len(measures) == 10
    assert all(one.title and one.needs for one in measures)


# --- boot and memory ----------------------------------------------------------------------------------------------


def test_cold_boots_alone_where_there_are_no_forks(context: FakeContext) -> None:
    found = BootMeasure().run(context)
    assert keys(found) == ["boot.cold"]
    assert found.series[0].values == (10.0,) * 3
    assert found.notes == ("fork: no forks here",)
    assert not any(guest.alive for guest in context.booted)


def test_at_least_twenty_forks_one_after_the_other_none_of_which_stays(context: FakeContext) -> None:
    context.make_forks = forks = FakeForks(context.source)
    cold, forked, worked = BootMeasure().run(context).series
    assert len(cold.values) == 3
    assert forked.values == (0.5,) * 20
    assert worked.values == (1.5,) * 20, "a look at the fake clock takes a second"
    assert forks.snapshots == 1
    assert not any(guest.alive for guest in forks.forked)


def test_the_size_of_a_process_is_its_pss(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "smaps_rollup").write_text(
        "00400000-7fff ---p 00000000 00:00 0 [rollup]\nRss: 99 kB\nPss: 60 kB\nPss_Anon: 1 kB\n"
    )
    assert pss_of(7, proc=tmp_path) == 60 << 10


@pytest.mark.parametrize("text", [None, "Rss: 99 kB\n"])
def test_a_size_that_the_kernel_does_not_report_is_an_error(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "7").mkdir()
        (tmp_path / "7" / "smaps_rollup").write_text(text)
    with pytest.raises(LabError, match="memory of process 7"):
        pss_of(7, proc=tmp_path)


# --- the decoder --------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(20, 512), min_size=1, max_size=20), st.integers(0, 5000))
def test_every_print_of_a_synthetic_capture_is_decoded(lengths: list[int], size: int) -> None:
    capture, prints = synthetic_capture(lengths, size)
    assert len(capture) >= size
    assert decode(capture) == prints


def test_rates_are_of_processor_time(context: FakeContext) -> None:
    context.quick, context.count = True, 2
    found = KdMeasure().run(context)
    assert keys(found) == ["kd.mixed", "kd.short", "kd.long", "kd.live", "kd.live.lost"]
    # A look at the fake clock takes a second: about a megabyte a second, whatever this machine does.
    assert found.series[0].values == pytest.approx((1.0, 1.0), abs=0.01)
    assert found.series[-1].values == (0.0, 0.0)


# --- WinRM and files ----------------------------------------------------------------------------------------------


def test_clients_take_turns_and_their_first_command_does_not_count(context: FakeContext) -> None:
    said: list[str] = []

    def client(name: str) -> Client:
        def run(command: Command) -> bytes:
            said.append(f"{name}:{command.name}")
            return b"lab\r\n" if command.line else b'{"seq":1,"op":"tick"}\r\n'

        return run

    context.count = 2
    times = take_turns({"a": client("a"), "b": client("b")}, COMMANDS, context)
    assert said == ["a:echo", "b:echo", "a:program", "b:program"] * 3
    assert times == {(command, name): [1.0, 1.0] for command in ("echo", "program") for name in "ab"}


def test_an_answer_of_another_program_is_not_a_reading(context: FakeContext) -> None:
    with pytest.raises(TransportError, match=r"x: .*drvprobe.* tick.*not recognized"):
        take_turns({"x": lambda _command: b"'drvprobe' is not recognized"}, COMMANDS[1:], context)


def test_a_guest_without_winrm_is_reported(context: FakeContext) -> None:
    with pytest.raises(NotHere, match="simulated guest"):
        guest_port(context.guest(), 5985)


class ChunkProtocol:
    """The part of pywinrm that writes a chunk."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.commands: list[str] = []
        self.cleaned: list[str] = []
        self.operation_timeout_sec = 20
        self.transport = None

    def open_shell(self, *, codepage: int) -> str:
        return "shell"

    def run_command(
        self,
        shell_id: str,
        command: str,
        arguments: Sequence[str] = (),
        console_mode_stdin: bool = True,
        skip_cmd_shell: bool = False,
    ) -> str:
        self.commands.append(command)
        return "command"

    def send_command_input(self, shell_id: str, command_id: str, stdin_input: bytes, end: bool = False) -> None:
        raise NotImplementedError

    def get_command_output_raw(self, shell_id: str, command_id: str) -> tuple[bytes, bytes, int, bool]:
        return b"", b"disk full", self.code, True

    def cleanup_command(self, shell_id: str, command_id: str) -> None:
        self.cleaned.append(command_id)

    def close_shell(self, shell_id: str, close_session: bool = True) -> None:
        """Nothing to do."""


def test_a_chunk_is_one_command_line_that_cmd_can_hold() -> None:
    protocol = ChunkProtocol()
    append_chunk(protocol, "shell", bytes(6000), r"C:\lab\bench\chunks.b64")
    (command,) = protocol.commands
    assert command.startswith("echo AAAA")
    assert command.endswith(r">>C:\lab\bench\chunks.b64")
    assert len(command) < 8191 - len("cmd /c ")
    assert protocol.cleaned == ["command"]


def test_a_chunk_that_was_not_written_is_an_error() -> None:
    with pytest.raises(TransportError, match="disk full"):
        append_chunk(ChunkProtocol(1), "shell", b"x", "C:\\x")


def test_each_copy_has_different_bytes(context: FakeContext) -> None:
    context.count = 2
    got: list[bytes] = []

    def put(source: Path, target: str, *, timeout: float) -> None:
        assert target.startswith("C:\\lab\\bench\\way-")
        got.append(source.read_bytes())

    small, large = copies(context, "way", "a way", put)
    assert (small.key, small.reference, small.values) == ("files.way.1", "files.winrm.1", (1.0, 1.0))
    assert large.label == "10 MB by a way"
    assert [len(data) for data in got] == [1_000_000] * 2 + [10_000_000] * 2
    assert len({data[:100] for data in got[:2]}) == len({data[:100] for data in got[2:]}) == 2


def test_files_use_the_cd_drive_if_the_guest_has_one(context: FakeContext) -> None:
    guest = context.guest()
    with pytest.raises(NotHere, match="no CD drive"):
        media_of(guest)
    drive = object()
    assert media_of(cast(LiveGuest, SimpleNamespace(delivery=SimpleNamespace(media=drive)))) is drive


# --- prints -------------------------------------------------------------------------------------------------------


def printed(number: int, at: float) -> PrintRecord:
    text = f"flood {number}\n"
    return PrintRecord(sequence=number, host_time=at, guest_time=at, source="wine", raw=text.encode(), text=text)


def test_prints_are_counted_by_their_numbers() -> None:
    other = PrintRecord(sequence=0, host_time=0.5, guest_time=0.5, source="wine", raw=b"x", text="a flood 7 of others")
    tally = count_up([other, *(printed(n, float(n)) for n in range(11, 16))], 11, 5)
    assert (tally.arrived, tally.lost, tally.gaps, tally.span_s, tally.in_order) == (5, 0, 0, 4.0, True)


@given(st.permutations(list(range(1, 9))), st.sets(st.integers(1, 8)))
def test_missing_prints_are_found_in_any_order_of_the_rest(order: list[int], missing: set[int]) -> None:
    left = [n for n in order if n not in missing]
    tally = count_up([printed(n, float(i)) for i, n in enumerate(left)], 1, 8)
    assert (tally.arrived, tally.lost) == (8 - len(missing), len(missing))
    assert tally.in_order == (left == sorted(left))


def test_gaps_that_the_source_reports_are_counted() -> None:
    assert count_up([GapRecord(sequence=0, host_time=0.0, missing=1, reason="a line is damaged")], 1, 0).gaps == 1


# --- suites -------------------------------------------------------------------------------------------------------


def test_all_suites_run_except_tests_that_need_the_host_alone(context: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, object]] = []

    def run(_context: object, suites: object, *, options: object, **_rest: object) -> SuitesRun:
        asked.append((suites, options))
        return SuitesRun(1.0, 1)

    monkeypatch.setattr("lab.bench.measures.suites.run_suites", run)
    context.suites = ()
    SuitesMeasure().run(context)
    assert all((ROOT / path).is_dir() for path in EVERYTHING)
    assert set(asked) == {(EVERYTHING, ("--no-fork", "-m", "not lab_cpus"))}


def test_runs_of_suites_do_not_inherit_settings_or_a_surrounding_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LAB_WORKERS", "PYTEST_XDIST_WORKER", "LAB_CACHE"):
        monkeypatch.setenv(name, "7")
    found = plain_environment()
    assert "LAB_WORKERS" not in found
    assert "PYTEST_XDIST_WORKER" not in found
    assert found["LAB_CACHE"] == "7"


def test_each_number_of_workers_is_a_run_of_the_real_command(context: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[tuple[object, ...]] = []

    def run_suites(
        _context: FakeContext, suites: Sequence[str], *, workers: int, options: Sequence[str], folder: Path
    ) -> SuitesRun:
        assert tuple(suites) == ("suites/mine",)
        runs.append((workers, *options, folder.name))
        return SuitesRun(100.0 / workers, min(workers, 2))

    monkeypatch.setattr("lab.bench.measures.suites.run_suites", run_suites)
    context.suites = ("suites/mine",)
    shared = context.guest()
    found = SuitesMeasure().run(context)
    assert not shared.alive, "it would run beside what is measured"
    assert runs == [(n, "--no-fork", f"cold-{n}") for n in (1, 2, 4)]
    assert [(one.key, one.reference) for one in found.series][1] == ("suites.cold.2", "suites.cold.1")
    assert "forks: no forks here" in found.notes
    assert [one.note.partition(":")[0] for one in found.series] == ["", "", "2 of them"]


def test_forked_runs_follow_the_cold_ones_where_there_are_forks(context: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.bench.measures.suites.run_suites", lambda *_args, **_rest: SuitesRun(7.0, 1))
    context.quick, context.make_forks = True, FakeForks(context.source)
    assert keys(SuitesMeasure().run(context)) == ["suites.cold.1", "suites.cold.2", "suites.forked.1", "suites.forked.2"]


# --- the loop -----------------------------------------------------------------------------------------------------

_FAKE_LAB = """
import pathlib, sys
files = [pathlib.Path(name) for name in ("driver/greeter.c", "suites/test_greeter.py")]
texts = [file.read_text().partition("good day ")[2].partition('"')[0] for file in files]
assert texts[0] == texts[1] and sys.argv[1] == "run"
with open("runs", "a") as file:
    file.write(texts[0] + " ")
sys.exit(EXIT)
"""


def fake_lab(folder: Path, *, exit_code: int = 0) -> Path:
    """A program in the place of a `lab` command: notes which text the driver has."""
    file = folder / ".venv" / "bin" / "lab"
    file.parent.mkdir(parents=True)
    file.write_text(f"#!{sys.executable}\n{_FAKE_LAB.replace('EXIT', str(exit_code))}", encoding="utf-8")
    file.chmod(0o755)
    return file


@pytest.fixture
def loop(context: FakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeContext:
    """Both labs of the measure are made up, and report one test that passed."""
    context.source.manifest = manifest(name="wine")
    before = tmp_path / "before"
    fake_lab(before)
    ours = fake_lab(tmp_path / "now")
    report = SimpleNamespace(tests=[SimpleNamespace(verdict="passed")])
    monkeypatch.setattr(loop_module, "prepare_before", lambda _context: before)
    monkeypatch.setattr(loop_module, "own_command", lambda: ours)
    monkeypatch.setattr(loop_module, "read_run", lambda _folder: report)
    return context


def test_a_changed_driver_and_a_rerun_are_measured_in_turn_with_an_earlier_commit(loop: FakeContext) -> None:
    loop.count = 2
    shared = loop.guest()
    found = LoopMeasure().run(loop)
    assert not shared.alive, "it would run beside what is measured"
    assert [(one.key, len(one.values), one.reference) for one in found.series] == [
        ("loop.before.changed", 2, ""),
        ("loop.now.changed", 2, "loop.before.changed"),
        ("loop.before.again", 2, ""),
        ("loop.now.again", 2, "loop.before.again"),
    ]
    # A first run, then each text twice.
    for side in ("before", "now"):
        said = (loop.out / "loop" / side / "runs").read_text(encoding="utf-8").split()
        new = said[-1].partition("-")[0]
        assert said == ["0", f"{new}-1", f"{new}-1", f"{new}-2", f"{new}-2"]
    order = [text.partition(":")[0] for text in loop.details if ": change" in text]
    assert order == ["commit f207318", "the lab", "the lab", "commit f207318"]
    assert (ROOT / "lab" / "bench" / "loop" / "driver" / "greeter.c").read_text(encoding="utf-8").count("good day 0") == 1


def test_a_driver_that_an_earlier_bench_has_tested_does_not_count_as_changed(loop: FakeContext) -> None:
    loop.count, seen = 1, set()
    for _ in range(2):
        LoopMeasure().run(loop)
        seen.add((loop.out / "loop" / "now" / "runs").read_text(encoding="utf-8"))
    assert len(seen) == 2


def test_a_failed_loop_is_not_a_reading(loop: FakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "own_command", lambda: fake_lab(tmp_path / "red", exit_code=1))
    with pytest.raises(HostToolError, match=r"run\.log"):
        LoopMeasure().run(loop)


def test_a_run_of_other_tests_is_not_a_reading(loop: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "read_run", lambda _folder: SimpleNamespace(tests=[]))
    with pytest.raises(HostToolError, match="no test passed"):
        LoopMeasure().run(loop)


def test_without_the_earlier_commit_there_is_no_loop(
    context: FakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(NotHere, match="no git repository with commit"):
        prepare_before(context, tmp_path)
    context.source.manifest = manifest(name="windows-11")
    with pytest.raises(NotHere, match="of the guest wine"):
        LoopMeasure().run(context)


# --- the peer -----------------------------------------------------------------------------------------------------


def linux(context: FakeContext) -> FakeContext:
    boot = {"kernel": "kernel", "initrd": "initrd", "append": "root=/dev/vda quiet"}
    machine = MachineSpec.model_validate({"machine": "q35", "memory_mb": 768, "disk": "disk.qcow2"} | boot)
    context.source.manifest = manifest(machine=machine, transports=usual_offers("winrm", "ssh"))
    context.credentials = Credentials(username="lab", password="secret", ssh_private_key="KEY")
    return context


def fake_peer(folder: Path, body: str) -> Path:
    """A program in the place of labgrid's Python: it is called with the script's path and gets the job on standard input."""
    file = folder / "python"
    file.write_text(f"#!{sys.executable}\nimport json, sys\njob = json.load(sys.stdin)\n{body}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


def test_labgrid_and_the_lab_boot_in_turn(context: FakeContext, tmp_path: Path) -> None:
    linux(context)
    context.peer_python = fake_peer(tmp_path, "print(json.dumps({'labgrid': '26.0', 'seconds': job['memory_mb'] / 64}))")
    found = PeerMeasure().run(context)
    assert [(one.key, one.values, one.reference) for one in found.series] == [
        ("peer.labgrid", (12.0, 12.0), ""),
        ("peer.lab", (10.0, 10.0), "peer.labgrid"),
    ]
    assert "labgrid 26.0" in found.series[0].label


def test_the_peer_gets_the_vm_of_the_image_and_a_private_key_file(context: FakeContext, tmp_path: Path) -> None:
    job = peer_job(linux(context), tmp_path)
    assert (job["machine"], job["memory_mb"], job["accelerator"]) == ("q35", 768, "tcg")
    assert job["boot_args"] == "quiet"
    assert stat.S_IMODE(Path(job["keyfile"]).stat().st_mode) == 0o600
    assert "secret" not in json.dumps(job)


def test_a_guest_that_labgrid_cannot_start_is_reported(context: FakeContext, tmp_path: Path) -> None:
    with pytest.raises(NotHere, match="labgrid cannot start it"):
        peer_job(context, tmp_path)


def test_without_labgrid_the_report_says_how_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(NotHere) as caught:
        find_peer(tmp_path / "python")
    assert "ci/peer.sh" in str(caught.value)


@pytest.mark.parametrize("body", ["sys.exit('qemu: no such machine')", "print('{}')", "print('no json')"])
def test_a_peer_that_fails_is_an_error_with_its_output(context: FakeContext, tmp_path: Path, body: str) -> None:
    python = fake_peer(tmp_path, body)
    with pytest.raises(HostToolError):
        boot_once(python, peer_job(linux(context), tmp_path))


# --- the live host ------------------------------------------------------------------------------------------------


def host_of(port: socket.socket, answers: Callable[[Session, bytes], bytes], heard: list[bytes]) -> None:
    """A debugger's host at the other end of a socket pair, until that is closed."""
    session = Session()
    while data := port.recv(65536):
        session.feed(data, now=0.0)
        heard += [record.raw for record in session.take_records() if isinstance(record, Print)]
        port.sendall(answers(session, session.take_output()))


@pytest.mark.parametrize("resets", [0, 1])
def test_a_made_up_target_waits_for_each_answer_and_begins_anew_when_it_is_reset(resets: int) -> None:
    heard: list[bytes] = []
    left = [resets]

    def answers(_session: Session, output: bytes) -> bytes:
        if left[0] and heard:
            left[0] -= 1
            return control_packet(RESET)
        return output

    target, host = socket.socketpair()
    thread = threading.Thread(target=host_of, args=(host, answers, heard))
    thread.start()
    with target:
        took = print_all(target, [b"one\n", b"two\n", b"three\n"], clock=TickingClock(), timeout=10)
    thread.join(10)
    host.close()
    assert took == 1.0
    assert sorted(set(heard)) == [b"one\n", b"three\n", b"two\n"]


def test_a_host_that_does_not_answer_or_ends_is_lost_evidence() -> None:
    target, host = socket.socketpair()
    with target, host, pytest.raises(EvidenceLost, match="did not answer"):
        print_all(target, [b"one\n"], clock=TickingClock(), timeout=0.01)
    target, host = socket.socketpair()
    host.close()
    with target, pytest.raises((EvidenceLost, BrokenPipeError)):
        print_all(target, [b"one\n"], clock=TickingClock(), timeout=10)


def test_every_print_to_the_real_host_is_in_its_records(context: FakeContext) -> None:
    assert live(context, 50) == (1.0, 0)
