"""The guest's side of a medium: the drive is found by its mark, files are copied and compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import CommandFailed, TransportError
from lab.guest.files import sum_of
from lab.guest.media import fetch, find_drive
from lab.guest.winrm.transport import WinRmTransport
from tests.guest.conftest import WinRmGuest
from tests.guest.fakes import FakeTransport, result

MARK = "lab-0123456789abcdef.id"


def fill(folder: Path, contents: dict[str, bytes]) -> None:
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def test_the_drive_is_found_by_its_mark(winrm: WinRmTransport, winrm_guest: WinRmGuest) -> None:
    fill(winrm_guest.drive_d, {MARK: b""})
    assert find_drive(winrm, MARK) == "D:\\"


def test_a_medium_that_is_not_seen_is_named(winrm: WinRmTransport) -> None:
    with pytest.raises(TransportError, match=f"does not see the medium .* no drive has {MARK}"):
        find_drive(winrm, MARK, wait_s=0)


def test_files_are_copied_and_the_mark_is_not(winrm: WinRmTransport, winrm_guest: WinRmGuest) -> None:
    contents = {"a b.sys": b"1" * 3000, "中文/名字.txt": b"2"}
    fill(winrm_guest.drive_d, {MARK: b"the list", **contents})
    fetch(winrm, MARK, {name: sum_of(data) for name, data in contents.items()}, "C:\\lab\\new folder")
    target = winrm_guest.drive_c / "lab" / "new folder"
    found = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert found == contents


def test_a_copy_that_differs_is_an_error(winrm: WinRmTransport, winrm_guest: WinRmGuest) -> None:
    fill(winrm_guest.drive_d, {MARK: b"", "x.sys": b"damaged", "y.sys": b"whole"})
    wanted = {"x.sys": sum_of(b"sound"), "y.sys": sum_of(b"whole")}
    with pytest.raises(TransportError, match=r"1 missing or different, 0 extra \(x\.sys\)"):
        fetch(winrm, MARK, wanted, "C:\\lab")


def test_a_file_too_few_is_an_error(winrm: WinRmTransport, winrm_guest: WinRmGuest) -> None:
    fill(winrm_guest.drive_d, {MARK: b""})
    with pytest.raises(TransportError, match="1 missing"):
        fetch(winrm, MARK, {"x.sys": sum_of(b"")}, "C:\\lab")


@pytest.mark.parametrize("code", [2, 21, 1110])
def test_a_medium_that_is_being_changed_is_read_again(code: int) -> None:
    """During a change of media, files are listed that cannot be opened any more."""
    line = f"{sum_of(b'').sha256}  0  x\n"
    guest = FakeTransport([result(code=code, stderr="labfile: cannot open: x"), result(line)])
    if code == 21:  # that is labfile's own deadline, and it has waited already
        with pytest.raises(TransportError, match="does not see"):
            fetch(guest, MARK, {"x": sum_of(b"")}, "C:\\lab")
    else:
        fetch(guest, MARK, {"x": sum_of(b"")}, "C:\\lab")
        assert guest.sent[0] == guest.sent[1]


def test_an_error_that_stays_is_reported() -> None:
    guest = FakeTransport([result(code=2, stderr="labfile: cannot open: x")] * 2)
    with pytest.raises(CommandFailed, match="cannot open: x"):
        fetch(guest, MARK, {"x": sum_of(b"")}, "C:\\lab")


def test_a_full_disk_is_not_tried_again() -> None:
    guest = FakeTransport([result(code=112, stderr="labfile: cannot write: x")])
    with pytest.raises(CommandFailed, match="disk is full"):
        fetch(guest, MARK, {"x": sum_of(b"")}, "C:\\lab")


def test_the_command_waits_in_the_guest_and_the_lab_a_little_longer() -> None:
    guest = FakeTransport([result("D:\\\r\n")])
    assert find_drive(guest, MARK, wait_s=7) == "D:\\"
    (sent,) = guest.sent
    assert sent.command == ("C:\\lab\\bin\\labfile.exe", "drive", "7", MARK)
    assert sent.timeout > 7
    assert not sent.shell


def test_an_answer_that_is_not_a_drive_is_refused() -> None:
    with pytest.raises(TransportError, match="without a drive: 'C:"):
        find_drive(FakeTransport([result("C:\\Windows")]), MARK)
