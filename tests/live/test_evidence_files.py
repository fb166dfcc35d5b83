"""What is saved of a crash holds the files of every print source, by the names that they really have."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.live.evidence import save_crash
from lab.prints.kd.process import CONTROL_SOCKET, ERRORS_FILE, RAW_FILE, RECORDS_FILE
from lab.prints.tap.source import LOG_FILE as TAP_LOG
from lab.vm.argv import serial_name
from lab.vm.machine import COMMAND_FILE, CONSOLE_BEFORE_FILE
from lab.vm.supervisor import LOG_FILE as QEMU_LOG
from lab.vm.supervisor import STATUS_FILE

_SERIALS = [f"{serial_name(number)}.log" for number in range(2)]
#: By whom they are written.
_FILES = {
    "the debugger port's collector": [RECORDS_FILE, RAW_FILE, ERRORS_FILE],
    "the tap": [TAP_LOG],
    "the serial ports": _SERIALS,
    "QEMU and its supervisor": [QEMU_LOG, STATUS_FILE, COMMAND_FILE, CONSOLE_BEFORE_FILE],
}


@pytest.mark.parametrize("writer", _FILES)
def test_the_files_of_every_source_are_among_the_evidence(writer: str, tmp_path: Path) -> None:
    """The debugger's raw bytes were not: they are called kd.raw, and looked for was *.kd."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    for name in (*_FILES[writer], CONTROL_SOCKET, "disk.qcow2"):
        (run_dir / name).write_text(name)
    guest: Any = SimpleNamespace(run_dir=run_dir, machine=object())
    saved = save_crash(guest, tmp_path / "evidence", (), dump=False)
    logs = {file.path.name: file.path for file in saved.files if file.kind == "guest-log"}
    assert sorted(logs) == sorted(_FILES[writer])
    assert all(path.read_text() == name for name, path in logs.items())
