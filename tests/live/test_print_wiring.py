"""From a manifest to ports, a boot with a debugger, and the printing of markers in the guest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab.errors import CommandFailed, HostToolError, ImageError, TransportError
from lab.guest.protocol import CommandResult
from lab.image.manifest import DebugBoot, ImageManifest, PrintPort
from lab.live.machine_spec import machine_spec
from lab.live.print_wiring import booted_as, open_prints, print_ports, starts_paused
from lab.prints.kd.say import LabSay
from lab.vm.spec import SerialPort
from tests.kdguest.guest import KdMachine
from tests.kdguest.guest import manifest as kd_manifest
from tests.simulated import manifest as wine_manifest

DEBUG = DebugBoot(
    prints=PrintPort(source="kd", serial=1, encoding="cp1252"),
    disk="disk-kd.qcow2",
    capabilities=("kernel_debugger", "dbgprint"),
)


def test_an_image_boots_by_itself_unless_its_debugger_is_asked_for() -> None:
    manifest = wine_manifest(debug=DEBUG)
    assert booted_as(manifest, "none") is manifest
    debugged = booted_as(manifest, "kd")
    assert debugged.prints == DEBUG.prints
    assert debugged.machine.disk == "disk-kd.qcow2"
    assert debugged.capabilities == ("dbgprint", "driver_load", "kernel_debugger")
    assert booted_as(wine_manifest(debug=DebugBoot(prints=DEBUG.prints)), "kd").machine.disk == "disk.qcow2"


def test_an_image_that_always_has_its_debugger_needs_no_other_boot() -> None:
    assert booted_as(kd_manifest(), "kd") == kd_manifest()


def test_an_image_without_a_debugger_is_refused_one() -> None:
    with pytest.raises(ImageError, match="no boot with a kernel debugger"):
        booted_as(wine_manifest(), "kd")


def test_an_older_manifest_is_still_read() -> None:
    text = wine_manifest().model_dump_json(exclude={"debug"})
    assert ImageManifest.model_validate_json(text) == wine_manifest()


def test_only_a_debugger_has_a_port_for_both_directions_and_a_vm_that_waits(tmp_path: Path) -> None:
    assert print_ports(wine_manifest()).serials == (SerialPort(), SerialPort())
    assert print_ports(booted_as(wine_manifest(debug=DEBUG), "kd")).serials == (SerialPort(), SerialPort("socket"))
    assert not starts_paused(wine_manifest())
    spec = machine_spec(kd_manifest(), tmp_path, name="g", accelerator="tcg")
    assert (spec.paused, spec.serials[0].kind, spec.console) == (True, "socket", 1)


def test_an_unknown_source_is_refused(tmp_path: Path) -> None:
    manifest = wine_manifest(prints=PrintPort(source="wine"))
    machine = KdMachine(tmp_path)
    with pytest.raises(ImageError, match="neither a channel nor a port"):
        open_prints(manifest, machine, "utf-8", lambda: Recorded())
    machine.kill()


def test_a_collector_that_cannot_start_its_session_is_an_error_with_its_words(tmp_path: Path) -> None:
    machine = KdMachine(tmp_path)
    (tmp_path / "kd.raw").write_bytes(b"of another guest")
    with pytest.raises(HostToolError, match="is not connected, and has ended") as caught:
        open_prints(kd_manifest(), machine, "utf-8", lambda: Recorded())
    assert "kd.raw exists already" in str(caught.value)
    assert (tmp_path / "kd.raw").read_bytes() == b"of another guest"
    machine.kill()


@dataclass
class Recorded:
    """A transport that records its commands."""

    name: str = "winrm"
    commands: list[Any] = field(default_factory=list)
    fails: list[Exception] = field(default_factory=list)
    exit_code: int = 0
    closed: int = 0

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        self.commands.append((list(command), timeout, shell))
        if self.fails:
            raise self.fails.pop(0)
        return CommandResult(command="", exit_code=self.exit_code, stdout=b"", stderr=b"", duration_s=0.0)

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        raise AssertionError

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        raise AssertionError

    def close(self) -> None:
        self.closed += 1


def test_a_marker_uses_a_connection_that_is_opened_on_first_use_and_kept() -> None:
    opened: list[Recorded] = []
    say = LabSay(lambda: opened.append(Recorded()) or opened[-1], "C:\\lab\\bin")  # type: ignore[func-returns-value]
    say.close()
    assert opened == []
    say("lab:mark:1\n", 7.0)
    say("lab:mark:2\n", 7.0)
    [one] = opened
    program = "C:\\lab\\bin\\labsay.exe"
    assert one.commands == [([program, "lab:mark:1"], 7.0, False), ([program, "lab:mark:2"], 7.0, False)]
    say.close()
    say.close()
    assert one.closed == 1


def test_a_broken_connection_is_opened_once_more() -> None:
    opened: list[Recorded] = []
    say = LabSay(lambda: opened.append(Recorded()) or opened[-1], "C:\\lab\\bin")  # type: ignore[func-returns-value]
    say("1", 1.0)
    opened[0].fails.append(TransportError("reset"))
    say("2", 1.0)
    assert [len(one.commands) for one in opened] == [2, 1]
    opened[1].fails += [TransportError("reset")]
    opened[1].exit_code = 2
    say("3", 1.0)
    assert len(opened) == 3


def test_a_guest_without_the_program_is_an_error() -> None:
    transport = Recorded(exit_code=2)
    say = LabSay(lambda: transport, "C:\\lab\\bin")
    with pytest.raises(CommandFailed):
        say("1", 1.0)
