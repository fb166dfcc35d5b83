"""Media in the CD drive of a real QEMU, and the commands for the monitor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.errors import ConfigError, TransportError
from lab.vm.machine import VirtualMachine
from lab.vm.medium import change_medium, eject_medium, medium_in
from lab.vm.qmp import CommandRefused, QmpEvent
from lab.vm.spec import CdDrive, SerialPort, VmSpec
from tests.vm.fake_qmp import FakeQmp


def spec(rom: Path, *, drives: int = 1) -> VmSpec:
    return VmSpec(name="cd", memory_mb=16, bios=rom, cds=(CdDrive(),) * drives, serials=(SerialPort(),))


def medium(path: Path) -> Path:
    path.write_bytes(path.name.encode().ljust(1 << 16, b"\0"))
    return path


def test_media_are_inserted_and_ejected(tmp_path: Path, make_rom: Any) -> None:
    first, second = medium(tmp_path / "first, with a comma.iso"), medium(tmp_path / "second.iso")
    with VirtualMachine(spec(make_rom(), drives=2), tmp_path / "run") as machine:
        machine.start()
        assert medium_in(machine.qmp) is None
        change_medium(machine.qmp, first)
        assert medium_in(machine.qmp) == first
        change_medium(machine.qmp, second)
        assert medium_in(machine.qmp) == second
        change_medium(machine.qmp, first, drive=1)
        assert (medium_in(machine.qmp), medium_in(machine.qmp, drive=1)) == (second, first)
        eject_medium(machine.qmp)
        eject_medium(machine.qmp)
        assert medium_in(machine.qmp) is None
        change_medium(machine.qmp, first)
        assert medium_in(machine.qmp) == first


def test_media_are_changed_while_the_vm_is_paused(tmp_path: Path, make_rom: Any) -> None:
    with VirtualMachine(spec(make_rom()), tmp_path / "run") as machine:
        machine.start()
        machine.pause()
        change_medium(machine.qmp, medium(tmp_path / "a.iso"))
        assert medium_in(machine.qmp) == tmp_path / "a.iso"


def test_a_vm_without_a_drive_is_an_error(tmp_path: Path, make_rom: Any) -> None:
    with VirtualMachine(spec(make_rom(), drives=0), tmp_path / "run") as machine:
        machine.start()
        with pytest.raises(CommandRefused, match="cd0"):
            change_medium(machine.qmp, medium(tmp_path / "a.iso"))
        assert medium_in(machine.qmp) is None


def test_a_missing_medium_never_reaches_the_monitor(tmp_path: Path) -> None:
    qmp = FakeQmp()
    with pytest.raises(ConfigError, match=r"no medium .*gone\.iso"):
        change_medium(qmp, tmp_path / "gone.iso")  # type: ignore[arg-type]
    assert qmp.sent == []


def test_only_the_closing_of_this_drives_tray_counts(tmp_path: Path) -> None:
    """Events of other trays, the opening, and earlier events do not count."""
    qmp = FakeQmp()
    qmp.happen("DEVICE_TRAY_MOVED", {"id": "cd0", "tray-open": False})
    qmp.during = [
        ("DEVICE_TRAY_MOVED", {"id": "/machine/peripheral/cd1/x", "tray-open": False}),
        ("DEVICE_TRAY_MOVED", {"id": "cd0", "tray-open": True}),
    ]
    with pytest.raises(TransportError, match="DEVICE_TRAY_MOVED"):
        change_medium(qmp, medium(tmp_path / "a.iso"))  # type: ignore[arg-type]
    qmp.during = [("DEVICE_TRAY_MOVED", {"device": "", "id": "/machine/peripheral/cd0", "tray-open": False})]
    change_medium(qmp, tmp_path / "a.iso")  # type: ignore[arg-type]
    name, arguments = qmp.sent[-1]
    assert name == "blockdev-change-medium"
    assert arguments["force"] is True
    assert arguments["filename"] == str(tmp_path / "a.iso")


def test_events_are_numbered_from_one() -> None:
    """The double counts like the monitor; `after` depends on that."""
    qmp = FakeQmp()
    qmp.happen("RESET", {})
    assert isinstance(qmp.seen[0], QmpEvent)
    assert qmp.event_count == qmp.seen[0].index == 1
