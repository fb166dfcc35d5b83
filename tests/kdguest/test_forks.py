"""Templates and forks of guests whose prints are packets of a debugger port: of the model, and of the bare-metal target."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.lease.image_source import ImageSource
from lab.live.guest import LiveGuest
from lab.live.print_wiring import open_prints
from lab.prints.record import EventRecord, GapRecord, MarkRecord, PrintRecord
from lab.report.model import RunReport
from lab.snapshot.fork_request import ForkWish
from lab.snapshot.forks import Forks
from tests.kdguest.forks import forked_source, restore
from tests.kdguest.guest import KdGuestSource, KdMachine
from tests.kdguest.metal import ENTRIES, metal_image
from tests.kdguest.plugin import FOLDER_VARIABLE, KIND_VARIABLE
from tests.kdguest.target import KernelStopped
from tests.kdguest.transport import KdTransport, install
from tests.prints.kd.live import collector_of

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 500.0
FORKS = int(os.environ.get("LAB_KD_FORKS", "50"))
#: Reads of one fork; each prints a line that names its length.
READS = 8
PLAIN, SYNC = ForkWish(1), ForkWish(1, ("sync",))
SCRIPT = "open h {link} access=r; " + "; ".join(f"read h {length}" for length in range(1, READS + 1))


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with the model's transport and the bare-metal guest kind."""
    folder = install(tmp_path / "package", ENTRIES)
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture
def model(tmp_path: Path, packages: Path) -> Iterator[ImageSource]:
    del packages
    source = forked_source(tmp_path / "guest", KdGuestSource(tmp_path / "guest").payload)
    yield source
    forks_of(source).close()


def forks_of(source: ImageSource) -> Forks:
    assert source.forks is not None
    return source.forks


def fork(source: ImageSource, guest_id: str, wish: ForkWish = SYNC) -> LiveGuest:
    made = forks_of(source).fork(guest_id, wish)
    assert made is not None, forks_of(source).figures.notes
    return made


def read_all(guest: LiveGuest) -> None:
    """Use the driver, with a marker before and after; every print of it arrives once, and in order."""
    begin = guest.prints.mark("begin", timeout=60)
    link = r"\\.\LySharkSync"
    reply = guest.transport.run(["drvprobe.exe", *SCRIPT.format(link=link).split()], timeout=60)
    assert reply.exit_code == 0, reply.text
    end = guest.prints.mark("end", timeout=60)
    new = guest.prints.records_since(begin)[: end - begin]
    assert [record.text for record in new if isinstance(record, PrintRecord)] == [
        f"读字节长度: {length} \n" for length in range(1, READS + 1)
    ]
    assert not [record for record in guest.prints.records_since(0) if isinstance(record, GapRecord)]


def test_a_fork_of_the_base_goes_on_with_the_session_of_its_template(model: ImageSource) -> None:
    forks_of(model).expect({PLAIN: 1}, beside=contextlib.nullcontext)  # too few for a template with the run's files
    guest = fork(model, "one", PLAIN)
    # Nothing of the boot is in it: it begins after the template's last packet.
    assert [record for record in guest.prints.records_since(0) if isinstance(record, (PrintRecord, EventRecord))] == []
    guest.services.start("LySharkSync")
    read_all(guest)
    guest.close()
    [base] = forks_of(model).figures.made.values()
    assert (base.base, base.key) == (True, guest.template)
    assert (set(base.prints.numbers), len(base.prints.texts["last"])) == ({"receive", "send"}, 64)


def test_a_fork_with_its_driver_loaded_begins_with_the_load(model: ImageSource) -> None:
    guest = fork(model, "one")
    records = guest.prints.wait(0, lambda new: any(isinstance(record, MarkRecord) for record in new), timeout=60)
    [load] = [record for record in records if isinstance(record, EventRecord)]
    assert (load.kind, "sync.sys" in load.text) == ("load", True)
    read_all(guest)
    guest.close()


def test_the_collector_is_connected_before_a_fork_runs(model: ImageSource, tmp_path: Path) -> None:
    template = forks_of(model).template(PLAIN)
    assert template is not None
    machine = restore(template.snapshot(), template.folder, tmp_path / "fork", name="fork", waiting=None)
    transport = KdTransport(lambda: machine.system)
    prints = open_prints(model.manifest, machine, "utf-8", lambda: transport, resume=template.prints_state())
    assert (machine.paused, machine.kernel.connected) == (True, True)
    prints.start()
    machine.kill()
    prints.close()


def test_a_spare_fork_goes_on_after_its_pause(model: ImageSource) -> None:
    fork(model, "one").close()
    forks_of(model).prepare("two", SYNC)
    guest = fork(model, "two")
    read_all(guest)
    guest.close()


def test_a_template_is_not_taken_with_a_packet_on_its_way(model: ImageSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest prints all the time; the model refuses to be saved while a packet or an answer is on its way."""
    printers: list[threading.Thread] = []
    pauses: list[None] = []
    boots, pause = KdMachine.cont, KdMachine.pause

    def cont(machine: KdMachine) -> None:
        boots(machine)
        if not printers:
            printers.append(threading.Thread(target=print_for_ever, args=(machine,), daemon=True))
            printers[0].start()

    def counted(machine: KdMachine) -> None:
        pauses.append(None)
        pause(machine)

    def print_for_ever(machine: KdMachine) -> None:
        try:
            while True:
                machine.kernel.print(b"busy\n")
                threading.Event().wait(0.001)
        except KernelStopped:
            pass

    monkeypatch.setattr(KdMachine, "cont", cont)
    monkeypatch.setattr(KdMachine, "pause", counted)
    guest = fork(model, "one", PLAIN)
    guest.services.start("LySharkSync")
    read_all(guest)
    guest.close()
    printers[0].join(60)
    assert not printers[0].is_alive()
    assert pauses


def test_a_killed_collector_is_a_gap_of_its_fork_and_the_next_fork_has_none(model: ImageSource) -> None:
    guest = fork(model, "one")
    assert guest.run_dir is not None
    collector_of(guest.run_dir).kill()
    records = guest.prints.wait(0, lambda new: any(isinstance(record, GapRecord) for record in new), timeout=60)
    assert "collector of the debugger port ended" in str(records[-1])
    guest.close()
    again = fork(model, "two")
    read_all(again)
    again.close()


@pytest.mark.e2e
def test_no_print_of_fifty_forks_is_lost_or_doubled_two_at_a_time(model: ImageSource) -> None:
    """tests/prints/kd/test_live_forks.py has the same for the bare-metal target."""

    def one(number: int) -> None:
        guest = fork(model, f"fork{number}")
        try:
            read_all(guest)
        finally:
            guest.close()

    fork(model, "first").close()  # makes the templates
    with ThreadPoolExecutor(2) as two:
        for done in [two.submit(one, number) for number in range(FORKS)]:
            done.result()


def run_forked(kind: str, names: tuple[str, ...], tmp_path: Path, packages: Path) -> RunReport:
    """Run suites in forks, by the default number of workers."""
    suites = [str(ROOT / "suites" / name) for name in names]
    argv = [sys.executable, "-m", "pytest", *suites, "-p", "tests.kdguest.plugin", "-n", "auto"]
    argv += ["-p", "no:cacheprovider", "--lab-out", str(tmp_path / "out")]
    environment = os.environ | {FOLDER_VARIABLE: str(tmp_path / "guest"), KIND_VARIABLE: kind}
    environment["PYTHONPATH"] = os.pathsep.join((str(packages), str(ROOT)))
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return RunReport.model_validate_json((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))


def check(report: RunReport) -> None:
    """Everything passed, in forks alone, and no print was lost or belonged to nothing."""
    assert {test.verdict for test in report.tests} == {"passed"}
    assert all(guest.template for guest in report.guests)
    assert [guest.gaps for guest in report.guests if guest.gaps] == []
    assert (report.failed_forks, report.fork_notes, report.unattributed_prints) == (0, [], 0)
    assert {entry.source for test in report.tests for entry in test.prints} == {"kd"}


@pytest.mark.e2e
def test_the_suites_run_unchanged_in_forks_of_the_model(tmp_path: Path, packages: Path) -> None:
    check(run_forked("forks", ("sync", "async", "lifecycle"), tmp_path, packages))


@pytest.mark.e2e
def test_the_suites_run_unchanged_in_forks_of_the_bare_metal_target(tmp_path: Path, packages: Path) -> None:
    metal_image(tmp_path / "guest")
    check(run_forked("metal", ("sync", "lifecycle"), tmp_path, packages))
