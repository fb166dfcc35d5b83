"""`lab put` and `lab get` against the guest's own programs in this process: paths, and nothing is overwritten."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from lab.cli import files as files_module
from lab.cli.main import app
from lab.errors import ConfigError
from lab.guest import files as guest_files
from lab.guest.protocol import CommandResult
from lab.lease.detached import DetachedGuest, DetachedGuests, process_start
from tests.guest.labfile_double import labfile


class _Transport:
    """Runs labfile on a folder that is drive C."""

    name = "winrm"

    def __init__(self, drive_c: Path) -> None:
        self.drive_c = drive_c

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        assert not isinstance(command, str)
        code, out, err = labfile(list(command[1:]), self.drive_c, stdin)
        return CommandResult(command=str(command), exit_code=code, stdout=out, stderr=err, duration_s=0.0)

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        guest_files.put(self, source, target, timeout=timeout)

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        guest_files.get(self, source, target, timeout=timeout)

    def close(self) -> None:
        pass


@pytest.fixture
def drive_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    guests = DetachedGuests(tmp_path / "guests")
    started = process_start(os.getpid()) or 0.0
    guests.add(
        DetachedGuest(name="wine", guest="g", image_dir=tmp_path, run_dir=tmp_path, pid=os.getpid(), pid_started=started)
    )
    drive = tmp_path / "drive_c"
    drive.mkdir()
    monkeypatch.setattr(files_module, "detached_guests", lambda: guests)
    monkeypatch.setattr(files_module, "read_manifest", lambda _dir: SimpleNamespace(tools_dir="C:\\lab\\bin"))
    monkeypatch.setattr(files_module, "open_detached", lambda _guest, _transport: _Transport(drive))
    monkeypatch.chdir(tmp_path)
    return drive


def lab(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def error(result: Result) -> ConfigError:
    assert isinstance(result.exception, ConfigError), result.output
    return result.exception


def test_files_go_to_the_labs_folder_by_default(drive_c: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    result = lab("put", "wine", "a.txt")
    assert (drive_c / "lab" / "files" / "a.txt").read_text() == "one"
    assert result.output == "a.txt -> wine:C:\\lab\\files\\a.txt\n"


def test_a_path_with_a_backslash_and_an_existing_folder_take_the_copies(drive_c: Path, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    lab("put", "wine", "a.txt", "b.txt", "C:\\data\\")
    lab("put", "wine", "a.txt", "C:\\data\\c.txt")
    lab("put", "wine", "a.txt", "C:\\data")
    assert sorted(path.name for path in (drive_c / "data").iterdir()) == ["a.txt", "b.txt", "c.txt"]


def test_several_files_cannot_become_one(drive_c: Path, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    assert "2 files cannot all be copied to C:\\data" in error(lab("put", "wine", "a.txt", "b.txt", "C:\\data")).message


def test_existing_files_are_overwritten_only_on_request(drive_c: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("new")
    there = drive_c / "a.txt"
    there.write_text("old")
    refused = error(lab("put", "wine", "a.txt", "C:\\a.txt"))
    assert "has C:\\a.txt with other content" in refused.message
    assert "--overwrite" in (refused.hint or "")
    assert there.read_text() == "old"
    assert lab("put", "wine", "a.txt", "C:\\a.txt", "--overwrite").exit_code == 0
    assert there.read_text() == "new"
    assert "(the same was there)" in lab("put", "wine", "a.txt", "C:\\a.txt").output


def test_a_folder_goes_with_all_that_is_in_it(drive_c: Path, tmp_path: Path) -> None:
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "x.bin").write_bytes(b"\0\1")
    lab("put", "wine", "tree", "C:\\t")
    assert (drive_c / "t" / "deep" / "x.bin").read_bytes() == b"\0\1"
    (tmp_path / "tree" / "deep" / "x.bin").write_bytes(b"other")
    assert "deep/x.bin in C:\\t with other content" in error(lab("put", "wine", "tree", "C:\\t")).message


def test_wrong_arguments_of_put_say_what_to_write(drive_c: Path) -> None:
    assert "there is no file or folder nothing.txt" in error(lab("put", "wine", "nothing.txt")).message
    assert "there is no file to copy" in error(lab("put", "wine", "C:\\data\\")).message
    assert "no guest 'other' is running" in error(lab("put", "other", "nothing.txt")).message


def test_get_copies_into_the_current_folder_and_overwrites_nothing(drive_c: Path, tmp_path: Path) -> None:
    (drive_c / "out.txt").write_text("result")
    assert lab("get", "wine", "C:\\out.txt").exit_code == 0
    assert (tmp_path / "out.txt").read_text() == "result"
    assert "exists already" in error(lab("get", "wine", "C:\\out.txt")).message
    assert lab("get", "wine", "C:\\out.txt", "other.txt").exit_code == 0
    assert (tmp_path / "other.txt").read_text() == "result"


def test_wrong_arguments_of_get_say_what_to_write(drive_c: Path) -> None:
    missing = error(lab("get", "wine", "C:\\none.txt"))
    assert missing.message == "guest wine has no C:\\none.txt"
    assert "run-in-guest wine -- dir" in (missing.hint or "")
    assert "is not a path in a Windows guest" in error(lab("get", "wine", "/etc/passwd")).message
