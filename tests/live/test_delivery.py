"""The way of files into a guest, what happens if it fails, and that nothing is copied twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab.errors import ConfigError, GuestExited, LabError, TransportError
from lab.guest.files import sum_of
from lab.live.delivery import Delivered, Delivery, FilesBy
from tests.guest.fakes import FakeTransport, Sent, result


@dataclass
class Recorder:
    """A transport, or a CD drive, that records the files that it gets."""

    name: str = "winrm"
    fails: LabError | None = None
    has: str = ""
    exit_code: int = 0
    got: list[tuple[list[str], str]] = field(default_factory=list)
    closed: int = 0

    def put(self, *arguments: Any, timeout: float = 300) -> None:
        source, target = arguments[-2:]
        if self.fails:
            raise self.fails
        names = sorted(p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file()) or [source.name]
        self.got.append((names, target))

    def run(self, command: Any, **_rest: Any) -> Any:
        assert command[1] == "sum"
        return result(self.has, code=self.exit_code, stderr="labfile: cannot open" if self.exit_code else "")

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.sys").write_bytes(b"a")
    (folder / "inner" / "b.txt").write_bytes(b"b")
    return folder


ALL = ["a.sys", "inner/b.txt"]
TARGET = "C:\\lab\\run"


def delivery(wanted: FilesBy, usual: Recorder, *, media: Recorder | None = None, other: Recorder | None = None) -> Delivery:
    def open_transport(name: str) -> Recorder:
        assert other is not None
        assert name == other.name
        return other

    return Delivery(wanted, usual, open_transport, media=media)  # type: ignore[arg-type]


def test_files_go_by_media(source: Path) -> None:
    usual, media = Recorder(), Recorder()
    assert delivery("media", usual, media=media).put(source, TARGET) == Delivered(by="media", copied=2)
    assert media.got == [(ALL, TARGET)]
    assert usual.got == []


def test_an_image_without_a_drive_uses_its_usual_way_without_a_message(source: Path) -> None:
    usual = Recorder()
    assert delivery("media", usual).put(source, TARGET) == Delivered(by="winrm", copied=2)
    usual = Recorder("ssh")
    assert delivery("media", usual).put(source, TARGET) == Delivered(by="sftp", copied=2)


@pytest.mark.parametrize(("wanted", "usual", "other"), [("sftp", "winrm", "ssh"), ("winrm", "ssh", "winrm")])
def test_files_go_by_the_other_transport_which_is_closed_again(source: Path, wanted: FilesBy, usual: str, other: str) -> None:
    second = Recorder(other)
    done = delivery(wanted, Recorder(usual), other=second, media=Recorder()).put(source, TARGET)
    assert done == Delivered(by=wanted, copied=2)
    assert second.got == [(ALL, TARGET)]
    assert second.closed == 1


def test_files_go_by_the_open_transport(source: Path) -> None:
    usual, media = Recorder(), Recorder()
    assert delivery("winrm", usual, media=media).put(source, TARGET).by == "winrm"
    assert usual.got == [(ALL, TARGET)]


def test_a_way_that_fails_is_reported_and_the_transport_is_used(source: Path) -> None:
    usual = Recorder()
    media = Recorder(fails=TransportError("the guest does not see the medium\nmore", hint="a hint"))
    done = delivery("media", usual, media=media).put(source, TARGET)
    assert done == Delivered(by="winrm", copied=2, note="media failed: the guest does not see the medium")
    assert usual.got == [(ALL, TARGET)]


def test_if_all_ways_fail_both_reasons_are_reported(source: Path) -> None:
    usual, media = Recorder(fails=TransportError("no answer")), Recorder(fails=TransportError("no medium"))
    with pytest.raises(TransportError, match="no answer") as caught:
        delivery("media", usual, media=media).put(source, TARGET)
    assert caught.value.__notes__ == ["before that, media failed: no medium"]


def test_a_guest_that_has_ended_gets_no_second_try(source: Path) -> None:
    usual = Recorder()
    with pytest.raises(GuestExited):
        delivery("media", usual, media=Recorder(fails=GuestExited("QEMU was killed"))).put(source, TARGET)
    assert usual.got == []


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file or folder to copy"):
        delivery("media", Recorder(), media=Recorder()).put(tmp_path / "none", TARGET)


def test_existing_files_are_not_copied_again(source: Path) -> None:
    there = f"{sum_of(b'a').sha256}  1  A.SYS\n{sum_of(b'b').sha256}  1  inner/b.txt\n{sum_of(b'').sha256}  0  other.log\n"
    usual, media = Recorder(has=there), Recorder()
    assert delivery("media", usual, media=media).put(source, TARGET, update=True) == Delivered(by="", copied=0)
    assert media.got == usual.got == []


def test_only_files_that_differ_are_copied(source: Path) -> None:
    there = f"{sum_of(b'a').sha256}  1  a.sys\n{sum_of(b'old').sha256}  3  inner/b.txt\n"
    usual, media = Recorder(has=there), Recorder()
    assert delivery("media", usual, media=media).put(source, TARGET, update=True) == Delivered(by="media", copied=1)
    assert media.got == [(["inner/b.txt"], TARGET)]


@pytest.mark.parametrize("code", [2, 3])
def test_a_guest_that_has_nothing_gets_all(source: Path, code: int) -> None:
    usual, media = Recorder(exit_code=code), Recorder()
    assert delivery("media", usual, media=media).put(source, TARGET, update=True).copied == 2
    assert media.got == [(ALL, TARGET)]


def test_a_single_file_is_compared_by_content(source: Path) -> None:
    usual, media = Recorder(has=f"{sum_of(b'a').sha256}  1  C:/lab/x.sys\n"), Recorder()
    way = delivery("media", usual, media=media)
    assert way.put(source / "a.sys", "C:\\lab\\x.sys", update=True).copied == 0
    (source / "a.sys").write_bytes(b"new")
    assert way.put(source / "a.sys", "C:\\lab\\x.sys", update=True).copied == 1
    assert media.got == [(["a.sys"], "C:\\lab\\x.sys")]


def test_sums_are_asked_of_labfile(source: Path) -> None:
    def answer(sent: Sent) -> Any:
        assert sent.command == ("C:\\tools\\labfile.exe", "sum", TARGET)
        return result(f"{sum_of(b'a').sha256}  1  a.sys\n{sum_of(b'b').sha256}  1  inner/b.txt\n")

    way = Delivery("winrm", FakeTransport(answer), open_transport=lambda _name: FakeTransport([]), tools_dir="C:\\tools")
    assert way.put(source, TARGET, update=True).copied == 0
