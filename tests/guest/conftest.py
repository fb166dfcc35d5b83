"""Fixtures: the guest's own WinRM service in this process, with doubles of the guest's programs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from labwinrm.config import Config
from labwinrm.server import Server, start
from pydantic import SecretStr

from lab.guest.winrm.transport import WinRmTransport, open_winrm

PASSWORD = "correct horse"


@dataclass
class WinRmGuest:
    """A running WinRM service and the folder that is its drive C."""

    server: Server
    drive_c: Path
    drive_d: Path

    @property
    def port(self) -> int:
        assert self.server.port is not None
        return self.server.port


@contextlib.contextmanager
def serve_winrm(folder: Path, *, port: int = 0) -> Iterator[WinRmGuest]:
    """A service whose files are in a folder."""
    users = folder / "users"
    users.write_text(f":lab:{PASSWORD}\n", encoding="utf-8")
    users.chmod(0o600)
    drive_c = folder / "drive_c"
    drive_c.mkdir(exist_ok=True)
    drive_d = folder / "drive_d"
    drive_d.mkdir(exist_ok=True)
    server = start(
        Config(
            address="127.0.0.1",
            http_port=port,
            https_port=None,
            ntlm_user_file=users,
            run_directory=folder / "run",
            launcher="direct",
            shell_command=("/bin/sh", "-c"),
            program_command=(sys.executable, "-B", str(Path(__file__).with_name("labfile_double.py"))),
            environment={"FAKE_DRIVE_C": str(drive_c), "FAKE_DRIVE_D": str(drive_d)},
        )
    )
    try:
        yield WinRmGuest(server, drive_c, drive_d)
    finally:
        server.close()


@pytest.fixture
def winrm_guest(tmp_path: Path) -> Iterator[WinRmGuest]:
    with serve_winrm(tmp_path) as guest:
        yield guest


@pytest.fixture
def winrm(winrm_guest: WinRmGuest) -> Iterator[WinRmTransport]:
    transport = open_winrm("127.0.0.1", winrm_guest.port, "lab", SecretStr(PASSWORD), grace_s=20)
    yield transport
    transport.close()
