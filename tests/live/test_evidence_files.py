"""The evidence of a crash contains the files of every print source, by their real names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.image.manifest import PrintPort
from lab.live.evidence import save_crash
from lab.live.guest_logs import copy_logs, find_logs
from lab.prints.channel import PrintChannel
from lab.prints.kd.process import CONTROL_SOCKET, ERRORS_FILE, RAW_FILE, RECORDS_FILE
from lab.prints.registry import CHANNELS
from lab.prints.relay.source import LOG_FILE as RELAY_LOG
from lab.prints.relay.start import start_file
from lab.vm.argv import serial_name
from lab.vm.machine import COMMAND_FILE, CONSOLE_BEFORE_FILE
from lab.vm.supervisor import LOG_FILE as QEMU_LOG
from lab.vm.supervisor import STATUS_FILE
from tests.machines import MachineDouble
from tests.simulated import manifest

_VM = (
    *(f"{serial_name(number)}.log" for number in range(2)),
    *(QEMU_LOG, STATUS_FILE, COMMAND_FILE, CONSOLE_BEFORE_FILE),
)
_START = start_file(Path(RELAY_LOG)).name
#: Print channel -> the files that it writes.
_FILES = {"wine": (), "kd": (RECORDS_FILE, RAW_FILE, ERRORS_FILE), "relay": (RELAY_LOG, _START), "none": ()}


@pytest.mark.parametrize("channel", CHANNELS.builtin)
def test_the_files_of_every_channel_are_among_the_evidence(channel: str, tmp_path: Path) -> None:
    """The debugger's raw bytes were missing: the file is kd.raw, and the pattern was *.kd."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    expected = sorted((*_VM, *_FILES[channel]))
    for name in (*expected, CONTROL_SOCKET, "disk.qcow2"):
        (run_dir / name).write_text(name)
    its = manifest(prints=PrintPort(source=channel))
    guest: Any = SimpleNamespace(run_dir=run_dir, machine=MachineDouble(run_dir), manifest=its)
    saved = save_crash(guest, tmp_path / "evidence", (), dump=False)
    assert [file.path.read_text() for file in saved.files if file.kind == "console"] == ["simulated console\n"]
    logs = {file.path.name: file.path for file in saved.files if file.kind == "guest-log"}
    assert sorted(logs) == expected
    assert all(path.read_text() == name for name, path in logs.items())
    copy_logs(run_dir, its, tmp_path / "kept")
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == expected


def test_a_channel_s_print_file_is_among_its_evidence(tmp_path: Path) -> None:
    for name, channel in CHANNELS.load_all(PrintChannel).items():
        its = manifest(prints=PrintPort(source=name))
        file = channel.file(its.prints, tmp_path)
        if file is not None:
            file.write_bytes(b"")
            assert file in find_logs(tmp_path, its)
            file.unlink()
