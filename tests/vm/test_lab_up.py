"""What `lab up` leaves when it is ended from outside: a real VM, with doubles of the image and its guest."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from lab.image.manifest import ImageManifest
from lab.lease.detached import DetachedGuests, end_detached
from lab.lease.image_source import ImageSource
from lab.live.guest import LiveGuest
from lab.live.payload import Payload
from lab.vm.machine import VirtualMachine
from lab.vm.process import read_status
from lab.vm.spec import VmSpec

_UP = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from lab.cli import given, guest, resolved
from lab.config.model import LabFile
from lab.live import boot, resolve
from lab.vm.spec import VmSpec

rom, folder, moment = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
prints = SimpleNamespace(source="none", encoding="utf-8", start=lambda: None, close=lambda: None)
manifest = SimpleNamespace(
    guest="tiny", name="tiny", capabilities=(), prints=prints, kind="wine", boot_timeout_s=60.0, tools_dir="",
    machine=SimpleNamespace(smp=1),
)
values = LabFile(image="one", accelerator="tcg")


def wait_ready(*_arguments, **_options):
    print("booting", flush=True)
    if moment == "booting":
        time.sleep(600)
    return SimpleNamespace(close=lambda: None)


boot.read_manifest = resolve.read_manifest = lambda _image: manifest
boot.booted_as = lambda found, _debug: found
boot.read_credentials = lambda _image: None
boot.machine_spec = lambda *_arguments, **_options: VmSpec(name="one", bios=rom, memory_mb=32)
boot.open_prints = lambda *_arguments, **_options: prints
boot.wait_ready = wait_ready
given.load_settings = lambda _options, config: SimpleNamespace(values=values, file=None)
resolve.choose_accelerator = lambda _wanted, _found: "tcg"
resolve.probe_accelerators = lambda _cache: None
resolved.ensure_image = lambda _name, _progress: folder
guest.print_ways = lambda _kept: None
guest.up()
print("up", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["booting", "up"])
def test_every_guest_that_survives_lab_up_is_registered(
    tmp_path: Path,
    make_rom: Callable[[], Path],
    monkeypatch: pytest.MonkeyPatch,
    wait_for: Callable[..., None],
    is_gone: Callable[[int], bool],
    moment: str,
    number: signal.Signals,
) -> None:
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "state"))
    command = [sys.executable, "-c", _UP, str(make_rom()), str(tmp_path), moment]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout
            for line in process.stdout:
                if line == f"{moment}\n":
                    break
            [status] = (tmp_path / "state" / "runs").glob("one-*/supervisor.json")
            pid = read_status(status.parent)["qemu_pid"]
            process.send_signal(number)
            process.wait(60)
        finally:
            process.kill()
    guests = DetachedGuests(tmp_path / "state" / "guests")
    if moment == "booting":
        wait_for(lambda: is_gone(pid), "the guest to end")
        assert guests.all() == []
    else:
        guest = guests.find("one")
        assert (guest.pid, is_gone(pid)) == (pid, False)
        end_detached(guest)
        assert is_gone(pid)


@pytest.mark.parametrize("detached", [True, False])
def test_a_guest_of_a_run_survives_once_it_is_registered(
    tmp_path: Path, make_rom: Callable[[], Path], wait_for: Callable[..., None], is_gone: Callable[[int], bool], detached: bool
) -> None:
    guests = DetachedGuests(tmp_path / "guests")
    machine = VirtualMachine(VmSpec(name="one", bios=make_rom(), memory_mb=32), tmp_path / "run")
    machine.start()
    pid = machine.pid
    source = ImageSource(
        image_dir=tmp_path,
        manifest=cast(ImageManifest, SimpleNamespace(guest="tiny", prints=SimpleNamespace(encoding="utf-8"))),
        payload=Payload(),
        accelerator="tcg",
        qemu="",
        transport="winrm",
        boot_timeout=None,
        runs_dir=tmp_path,
        evidence_dir=tmp_path,
        kept=guests,
        detached=detached,
    )
    live = SimpleNamespace(machine=machine, guest_id="one", close=machine.close, template="", loaded=set())
    source.register(cast(LiveGuest, live))
    machine.close()  # as the end of this process would
    assert [guest.pid for guest in guests.all()] == ([pid] if detached else [])
    for guest in guests.all():
        end_detached(guest)
    wait_for(lambda: is_gone(pid), "QEMU to end")
