"""The finished stand-in for Windows, proved in real VMs: booted, killed, and booted again from the same disk.

The stand-in has no WinRM: a double answers in its place, as long as its VM shows that it is up.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lab.guest.protocol import Transport
from lab.image.manifest import load_manifest
from lab.image.progress import PlainProgress
from lab.proofs.bench import ImageBench
from lab.proofs.catalogue import chosen, statements
from lab.proofs.guests import ImageGuests
from lab.proofs.keeper import RecordFolder
from lab.proofs.record import ProofRecord, Row
from lab.proofs.redact import Redactor
from lab.proofs.session import Listener, open_statements, prove
from lab.vm.machine import VirtualMachine
from lab.vm.protocol import StartableMachine
from lab.vm.spec import VmSpec
from tests.image.windows.building import EDITION, build
from tests.image.windows.standin.media import Mode, assemble, make_windows_cd
from tests.proofs.standin import Commands, WindowsDouble

pytestmark = pytest.mark.e2e
#: In a guest, in a VM that is killed, in one with the other disk; from the build; and one that only KVM can show.
NAMES = (
    *("com1-in-winpe", "test-signing", "winrm-client", "killed-guest-starts-again"),
    *("debugger-entry-without-debugger", "guest-clock"),
)
UP = "the stand-in is up"


def small(spec: VmSpec, folder: Path) -> StartableMachine:
    return VirtualMachine(replace(spec, memory_mb=64), folder)


class Standin:
    """Reaches the stand-in in a VM: it answers when its console says that it is up."""

    def __init__(self) -> None:
        self.windows = WindowsDouble()
        self.machines: list[StartableMachine] = []

    def __call__(self, _transport: str, machine: StartableMachine) -> Transport:
        self.machines.append(machine)
        self.windows.ready = lambda: UP in machine.console_tail()
        return self.windows


def test_the_stand_in_is_proved_interrupted_and_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DATA", "STATE"):
        monkeypatch.setenv(f"LAB_{variable}", str(tmp_path / variable.lower()))
    iso = make_windows_cd(assemble(tmp_path), Mode.GOOD, tmp_path / "good.iso", [EDITION])
    image, _built = build(iso, tmp_path / "cache", tmp_path / "logs", progress=PlainProgress())
    manifest = load_manifest(image)
    manifest = manifest.model_copy(update={"boot_timeout_s": 120.0})
    folder = tmp_path / "record"
    folder.mkdir()
    keeper = RecordFolder(folder, Redactor(), statements())

    def session(stop_after: str = "") -> ProofRecord:
        standin = Standin()
        guests = ImageGuests(image, manifest, "tcg", open_machine=small, connect=standin, gap_s=0.2)

        def ended(row: Row) -> None:
            if row.id == stop_after:
                raise KeyboardInterrupt

        with contextlib.closing(ImageBench(image, manifest, "tcg", guests, command=Commands())) as bench:
            begun = keeper.read() or ProofRecord(started="2030-06-01T00:00:00Z", subject=bench.subject("7.2"))
            todo = open_statements(chosen(NAMES, statements()), begun)
            record = prove(todo, begun, bench, Listener(ended=ended, save=keeper.save))
        assert all(not machine.alive for machine in standin.machines)
        return record

    with pytest.raises(KeyboardInterrupt):
        session(stop_after="winrm-client")
    half = keeper.read()
    assert half is not None
    assert {row.id for row in half.rows if row.answered} == {"com1-in-winpe", "test-signing", "winrm-client"}
    record = session()
    found = {row.id: (row.state, row.said) for row in record.rows}
    assert {name for name, (state, _said) in found.items() if state == "proved"} == set(NAMES) - {"guest-clock"}
    assert found["guest-clock"] == ("not reached", "it needs KVM, and guests run under tcg here")
    assert "it answers again" in found["killed-guest-starts-again"][1]
    assert [row for row in record.rows if row.id in ("com1-in-winpe", "winrm-client")] == [
        row for row in half.rows if row.id in ("com1-in-winpe", "winrm-client")
    ]
    running = [str(process.info["cwd"]) for process in psutil.process_iter(["cwd"]) if process.info["cwd"]]
    assert [place for place in running if place.startswith(str(tmp_path))] == []
    assert not list((tmp_path / "state" / "runs").glob("prove-*"))
