"""Templates and forks of the free guest: independent, removed completely, and reliable over many forks in a row."""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import os
import random
import re
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lab.guest.winrm.transport import WinRmTransport
from lab.host.accel import QEMU, choose_accelerator, probe_accelerators
from lab.host.paths import cache_dir, runs_dir, templates_dir
from lab.host.qemu import qemu_version
from lab.image.folder import read_manifest
from lab.image.store import find_image
from lab.lease.image_source import make_forks
from lab.live.guest import LiveGuest
from lab.live.payload import Payload
from lab.plugin.reader import DeviceReader
from lab.prints.record import GapRecord, PrintRecord
from lab.snapshot.fork_maker import FORK_STEPS, ForkSteps
from lab.snapshot.fork_request import ForkWish
from lab.snapshot.forks import Forks
from lab.snapshot.resume import continue_guest, resume_guest
from lab.snapshot.store import TemplateStore
from lab.snapshot.template import TemplateWish
from lab.toolchain.select import resolve_drivers
from lab.vm.machine import VirtualMachine
from lab.vm.spec import Clock
from tests.e2e.running import FinishedRun, StartedRun, is_qemu, poll

pytestmark = pytest.mark.e2e

SYNC = ForkWish(1, ("sync",))
#: How many forks in a row, and how often something is killed; LAB_LONG=1 runs the full figures.
LONG = os.environ.get("LAB_LONG") == "1"
FORKS = 200 if LONG else 12
KILLS = 20 if LONG else 3


@pytest.fixture(scope="module")
def payload(tmp_path_factory: pytest.TempPathFactory) -> Payload:
    return Payload.of(resolve_drivers(names=["sync", "async"], into=tmp_path_factory.mktemp("copies"), arch="x64"))


@pytest.fixture
def make(payload: Payload) -> Iterator[Callable[..., Forks]]:
    """Makes sources of forks, as each worker of a run has one."""
    image = find_image("wine")
    made: list[Forks] = []

    def one(*, steps: ForkSteps = FORK_STEPS) -> Forks:
        wish = TemplateWish(
            image_dir=image,
            manifest=read_manifest(image),
            payload=payload,
            accelerator=choose_accelerator("auto", probe_accelerators(cache_dir())),
            qemu=qemu_version(QEMU),
            transport="winrm",
            smp=1,
        )
        store = TemplateStore(templates_dir())
        made.append(
            make_forks(
                wish,
                store,
                runs_dir=runs_dir(),
                boot_timeout=None,
                on_close=lambda folder, _kept: folder.remove(),
                steps=steps,
            )
        )
        return made[-1]

    yield one
    for forks in made:
        forks.close()


def fork_of(forks: Forks, name: str, wish: ForkWish = SYNC) -> LiveGuest:
    guest = forks.fork(name, wish)
    assert guest is not None, forks.figures.notes
    return guest


def reader_of(guest: LiveGuest, payload: Payload) -> DeviceReader:
    return DeviceReader(guest.transport, payload.client_path("drvprobe"), payload.driver("sync").links[0])


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_two_forks_of_one_template_are_independent(make: Callable[[], Forks], payload: Payload) -> None:
    forks = make()
    template = forks.template(SYNC)
    assert template is not None
    before = hashes(template.folder)
    one, other = fork_of(forks, "one"), fork_of(forks, "other")
    try:
        one.transport.run("echo mine> C:\\mine.txt", timeout=60).check()
        assert one.transport.run("type C:\\mine.txt", timeout=60).text.strip() == "mine"
        assert other.transport.run("type C:\\mine.txt", timeout=60).exit_code != 0
        # Each has a driver that was loaded and never read from, and prints of its own.
        assert [read.text for read in reader_of(one, payload).read(length=20, times=2)] == ["hi, lyshark A", "hi, lyshark B"]
        assert [read.text for read in reader_of(other, payload).read(length=13)] == ["hi, lyshark A"]
        for guest, lengths in ((one, [20, 20]), (other, [13])):
            guest.prints.mark("end", timeout=60)
            records = guest.prints.records_since(0)
            prints = [r.text.strip() for r in records if isinstance(r, PrintRecord)]
            assert prints == [f"读字节长度: {length}" for length in lengths]
            assert not [r for r in records if isinstance(r, GapRecord)]
        ram = str(template.folder / "ram")
        private = {}
        for guest in (one, other):
            assert isinstance(guest.machine, VirtualMachine)
            maps = psutil.Process(guest.machine.pid).memory_maps(grouped=False)
            private[guest.guest_id] = sum(m.anonymous for m in maps if m.path == ram) >> 20
        assert max(private.values()) < 100, f"MiB of RAM that a fork does not share: {private}"
    finally:
        one.close()
        other.close()
    assert hashes(template.folder) == before


@pytest.mark.parametrize("told", ["2031-02-03 04:56", "2033-05-06 07:28"])
def test_a_fork_has_the_time_of_day_that_it_gets(make: Callable[..., Forks], told: str) -> None:
    """On another day than that of the template: with the host's date, a clock that was never set would be right, too."""
    moment = datetime.datetime.fromisoformat(told).replace(tzinfo=datetime.UTC)
    forks = make(
        steps=ForkSteps(
            resume=functools.partial(resume_guest, wall=moment.timestamp),
            continue_guest=functools.partial(continue_guest, wall=moment.timestamp),
        )
    )
    guest = fork_of(forks, "clock")
    try:
        shown = guest.transport.run("echo %DATE% %TIME%", timeout=60).text
    finally:
        guest.close()
    found = re.search(r"(\d{1,2})/(\d{1,2})/(\d{4})\s+(\d{1,2}):(\d\d)", shown)
    assert found, shown
    month, day, year, hour, minute = map(int, found.groups())
    passed = datetime.datetime(year, month, day, hour, minute, tzinfo=datetime.UTC) - moment
    assert datetime.timedelta(0) <= passed <= datetime.timedelta(minutes=10), shown


def test_a_fork_has_the_hosts_time_and_random_numbers_of_its_own(make: Callable[[], Forks]) -> None:
    forks = make()
    drawn = set()
    for number in range(2):
        guest = fork_of(forks, f"clock-{number}")
        try:
            # cmd's random numbers are seeded by the time; a WinRM shell's id comes from the kernel's random numbers.
            guest.transport.close()
            guest.transport.run("ver", timeout=60)
            assert isinstance(guest.transport, WinRmTransport)
            shell_id = guest.transport._shell.shell_id
            assert shell_id
            drawn.add(shell_id)
            # Read before and after, for a test that runs at midnight.
            days = [datetime.datetime.now(datetime.UTC).strftime("%m/%d/%Y")]
            shown = guest.transport.run("date /t", timeout=60).text
            days.append(datetime.datetime.now(datetime.UTC).strftime("%m/%d/%Y"))
            assert any(day in shown for day in days), shown
            # Otherwise each process would be translated anew.
            assert guest.transport.run(r"type \\?\unix\proc\sys\kernel\randomize_va_space", timeout=60).text.strip() == "0"
        finally:
            guest.close()
    assert len(drawn) == 2


@pytest.mark.parametrize("clock", ["virtual", "real"])
def test_many_forks_in_a_row_two_at_a_time(make: Callable[[], Forks], payload: Payload, clock: Clock) -> None:
    wish = replace(SYNC, clock=clock)
    first = make()
    with contextlib.closing(fork_of(first, "warm-up", wish)) as guest:
        assert guest.clock == clock
    template = first.template(wish)
    assert template is not None
    me = psutil.Process()
    before = (me.num_fds(), size_of(template.folder))
    memory = me.memory_info().rss
    failures: list[str] = []

    def row(forks: Forks, name: str) -> None:
        for number in range(FORKS // 2):
            try:
                forks.prepare(f"{name}-{number}", wish)
                guest = fork_of(forks, f"{name}-{number}", wish)
                try:
                    texts = [read.text for read in reader_of(guest, payload).read(length=20)]
                finally:
                    guest.close()
                if texts != ["hi, lyshark A"]:
                    failures.append(f"{name}-{number}: {texts}")
            except Exception as error:
                failures.append(f"{name}-{number}: {type(error).__name__}: {error}")

    rows = [threading.Thread(target=row, args=(forks, name)) for forks, name in ((first, "a"), (make(), "b"))]
    for thread in rows:
        thread.start()
    for thread in rows:
        thread.join()
    assert not failures
    assert first.figures.failed == 0
    after = (me.num_fds(), size_of(template.folder))
    assert after[0] <= before[0] + 4, "open files"
    # Not of all templates: other tests make some at the same time.
    assert after[1] == before[1], "bytes of the template"
    grown = (me.memory_info().rss - memory) >> 20
    assert grown < 64, f"the process grew by {grown} MiB"
    assert not [p for p in me.children(recursive=True) if is_qemu(p)]
    sys.stderr.write(f"{FORKS} forks, {clock} clock: open files {before[0]} -> {after[0]}, grown by {grown} MiB\n")


def test_killing_worker_qemu_or_template_maker_leaves_nothing_and_the_next_run_succeeds(
    start_run: Callable[..., StartedRun],
    finish_run: Callable[..., FinishedRun],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A cache of its own, with the image of the shared one: its templates are made by the runs that are killed.
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "images").symlink_to(cache_dir() / "images")
    monkeypatch.setenv("LAB_CACHE", str(cache))
    dice = random.Random(1)
    for number in range(KILLS):
        run = start_run("--workers", "2", "suites/sync/test_device.py")
        poll("the first QEMU", lambda run=run: any(map(is_qemu, run.descendants())), timeout=120)  # type: ignore[misc]
        # At any moment between the start of a template's boot and the last fork.
        wait = threading.Event()
        wait.wait(dice.uniform(0.0, 20.0))
        family = run.descendants()
        victims = [p for p in family if is_qemu(p)] if number % 3 == 0 else family
        if victims:
            dice.choice(victims).kill()
        run.process.kill() if number % 3 == 2 else None
        run.finish()
        _, alive = psutil.wait_procs(family, timeout=60)
        assert not [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    again = finish_run("--workers", "2", "suites/sync/test_device.py")
    assert again.exit_code == 0, again.output
    assert not list((cache / "templates").glob(".*.tmp"))
