"""`lab debug`: the commands for gdb, and wrong arguments."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from lab.cli import debug as debug_module
from lab.cli import lend as lend_module
from lab.cli.debug import gdb_script
from lab.cli.main import app
from lab.errors import ConfigError, HostToolError, LabError
from lab.lease.detached import DetachedGuest, DetachedGuests, process_start
from lab.prints.kd.collector import Collector
from lab.prints.kd.control import DEBUGGER_SOCKET, CollectorControl, ControlServer
from lab.prints.kd.packet import BREAK_IN
from lab.prints.kd.process import CONTROL_SOCKET
from lab.prints.kd.session import Session
from lab.toolchain.symbols import LoadedSymbols

LAMP = LoadedSymbols(
    name="lamp", file=Path('/tmp/a "b"/lamp.dbg'), offset=0x7FFEBF310000, functions={"Blinken": 0x7FFFFF311040}
)


def test_gdb_gets_symbols_at_their_address_before_it_connects() -> None:
    lines = gdb_script([LAMP], "/run/g.sock", ["*0x7fffff311040", "lamp.c:7"], batch=False).splitlines()
    assert 'add-symbol-file "/tmp/a \\"b\\"/lamp.dbg" -o 0x7ffebf310000' in lines
    assert lines[-3:] == ["target remote /run/g.sock", "break *0x7fffff311040", "break lamp.c:7"]


def test_in_batch_mode_gdb_continues_once_and_detaches() -> None:
    lines = gdb_script([LAMP], "127.0.0.1:9", ["*0x1"], batch=True, commands=["p irp"]).splitlines()
    assert lines[-3:] == ["continue", "p irp", "detach"]
    assert gdb_script([LAMP], "a", [], batch=True).splitlines()[-3:] == ["bt", "info args", "detach"]


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    guests = DetachedGuests(tmp_path / "guests")
    started = process_start(os.getpid()) or 0.0
    guests.add(DetachedGuest(name="win", guest="g", image_dir=tmp_path, run_dir=tmp_path, pid=os.getpid(), pid_started=started))
    manifest = SimpleNamespace(kind="windows", name="w")
    monkeypatch.setattr(debug_module, "detached_guests", lambda: guests)
    monkeypatch.setattr(debug_module, "read_manifest", lambda _dir: manifest)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if name == "gdb" else None)
    return manifest


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["win", "--break", "Blinken"], "guest win is Windows, and the lab cannot find the addresses of its drivers for gdb"),
        (["win"], "guest win was booted without a kernel debugger"),
        (["other"], "no guest 'other' is running"),
        (["win", "-c", "bt"], "--command needs --batch"),
        (["win", "--batch"], "--batch needs --break"),
    ],
)
def test_wrong_arguments_say_what_to_do(guest: SimpleNamespace, arguments: list[str], said: str) -> None:
    error = CliRunner().invoke(app, ["debug", *arguments]).exception
    assert isinstance(error, ConfigError)
    assert said in error.message
    assert error.hint


def test_a_host_without_gdb_gets_the_command_to_install_it(guest: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    guest.kind = "wine"
    monkeypatch.setattr("shutil.which", lambda _name: None)
    error = CliRunner().invoke(app, ["debug", "win"]).exception
    assert isinstance(error, HostToolError)
    assert isinstance(error, LabError)
    assert "apt-get install gdb" in error.hint


def test_a_windows_guests_port_is_lent_until_the_debugger_leaves(
    guest: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lend_module, "_POLL_S", 0.01)
    ours, kernel = socket.socketpair()
    collector = Collector(ours, Session())
    collector.start()
    server = ControlServer(tmp_path / CONTROL_SOCKET, collector)
    left = threading.Event()

    def debugger() -> None:
        """Connects when the port is offered, sends a byte, and disconnects when the command has seen it."""
        control = CollectorControl(tmp_path / CONTROL_SOCKET)
        with socket.create_connection(("127.0.0.1", control.request("lend").port), 20) as port:
            port.sendall(BREAK_IN)
            left.wait(20)

    def seen(text: object, **_options: object) -> None:
        said.append(str(text))
        if "is connected" in str(text):
            left.set()

    said: list[str] = []
    monkeypatch.setattr("typer.echo", seen)
    thread = threading.Thread(target=debugger)
    thread.start()
    try:
        result = CliRunner().invoke(app, ["debug", "win"])
    finally:
        thread.join(30)
        server.close()
        collector.stop("the test is over")
        kernel.close()
    assert result.exit_code == 0, result.exception
    assert any(line.startswith("  windbg -k com:ipport=") for line in said)
    assert any("ntoseye.attach" in line and str(tmp_path / DEBUGGER_SOCKET) in line for line in said)
    assert said[-2:] == ["a debugger is connected", "the debugger has disconnected"]
