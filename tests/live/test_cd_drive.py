"""Files into a guest by its CD drive, with a monitor and a guest that are doubles."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import ConfigError, TransportError
from lab.guest.files import sum_of
from lab.live.cd_drive import CdCopy
from tests.guest.fakes import FakeTransport, Sent, result
from tests.vm.fake_qmp import FakeQmp


@pytest.fixture
def qmp() -> FakeQmp:
    return FakeQmp()


@pytest.fixture
def drive(qmp: FakeQmp, tmp_path: Path) -> CdCopy:
    return CdCopy(lambda: qmp, tmp_path / "run")  # type: ignore[arg-type,return-value]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.sys").write_bytes(b"a")
    (folder / "inner" / "b.txt").write_bytes(b"b")
    return folder


def copies(*contents: tuple[str, bytes]) -> FakeTransport:
    """A guest that answers with the sums of these files."""
    lines = "".join(f"{sum_of(data).sha256}  {len(data)}  {name}\n" for name, data in contents)
    return FakeTransport(lambda _sent: result(lines))


def changes(qmp: FakeQmp) -> list[str]:
    return [str(arguments["filename"]) for name, arguments in qmp.sent if name == "blockdev-change-medium"]


def test_a_folder_goes_in(drive: CdCopy, qmp: FakeQmp, source: Path) -> None:
    guest = copies(("a.sys", b"a"), ("inner/b.txt", b"b"))
    drive.put(guest, source, "C:\\lab\\run")
    assert drive.medium is not None
    assert changes(qmp) == [str(drive.medium.path)]
    (sent,) = guest.sent
    assert sent.command[1:] == ("fetch", "30", drive.medium.marker, "C:\\lab\\run")


def test_a_file_goes_in_under_the_name_of_its_copy(drive: CdCopy, source: Path) -> None:
    guest = copies(("new name.sys", b"a"))
    drive.put(guest, source / "a.sys", "C:\\lab\\run\\new name.sys")
    assert drive.medium is not None
    assert list(drive.medium.files) == ["new name.sys"]
    assert guest.sent[0].command[-1] == "C:\\lab\\run"


def test_a_wrong_sum_is_an_error(drive: CdCopy, source: Path) -> None:
    with pytest.raises(TransportError, match=r"differs from its source: 1 missing or different"):
        drive.put(copies(("a.sys", b"something else")), source / "a.sys", "C:\\lab\\a.sys")


def test_the_same_files_are_not_put_in_twice(drive: CdCopy, qmp: FakeQmp, source: Path) -> None:
    first = drive.insert({"a.sys": source / "a.sys"})
    assert drive.insert({"a.sys": source / "a.sys"}) == first
    assert len(changes(qmp)) == 1


def test_the_old_medium_is_deleted_after_the_new_one(drive: CdCopy, qmp: FakeQmp, source: Path) -> None:
    first = drive.insert({"a": source / "a.sys"})
    second = drive.insert({"b": source / "a.sys"})
    assert not first.path.exists()
    assert second.path.exists()
    assert changes(qmp) == [str(first.path), str(second.path)]


def test_a_change_that_fails_leaves_the_old_medium(drive: CdCopy, qmp: FakeQmp, source: Path) -> None:
    first = drive.insert({"a": source / "a.sys"})
    qmp.refuse = TransportError("the monitor is busy")
    with pytest.raises(TransportError):
        drive.insert({"b": source / "a.sys"})
    assert drive.medium == first
    assert first.path.exists()


def test_after_an_eject_the_drive_is_empty(drive: CdCopy, qmp: FakeQmp, source: Path) -> None:
    medium = drive.insert({"a": source / "a.sys"})
    drive.eject()
    assert qmp.sent[-1] == ("eject", {"id": "cd0", "force": True})
    assert not medium.path.exists()
    assert drive.medium is None
    with pytest.raises(ConfigError, match="no ISO in the CD drive"):
        drive.drive(FakeTransport([]))
    drive.eject()


def test_files_can_be_used_where_they_are(drive: CdCopy, source: Path) -> None:
    medium = drive.insert({"a": source / "a.sys"})

    def answer(sent: Sent):  # type: ignore[no-untyped-def]
        assert sent.command[1:] == ("drive", "30", medium.marker)
        return result("E:\\\r\n")

    assert drive.drive(FakeTransport(answer)) == "E:\\"


def test_a_name_that_no_medium_holds_changes_nothing(drive: CdCopy, qmp: FakeQmp, source: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be put on an ISO"):
        drive.put(FakeTransport([]), source / "a.sys", "C:\\lab\\" + "x" * 120)
    assert qmp.sent == []
