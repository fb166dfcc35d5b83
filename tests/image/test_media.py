"""Media: files come back unchanged, the same files give the same bytes, and what a medium cannot hold is refused."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pycdlib
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.errors import ConfigError, HostToolError
from lab.guest.files import FileSum, parse_sums, sum_of
from lab.image import media
from lab.image.media import MAX_NAME, build_medium, check_names, files_of

Write = Callable[[Mapping[str, bytes]], dict[str, Path]]

CHINESE = "中文 名字 测试驱动程序" * 7 + ".sys"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write contents to numbered files of the host."""

    def make(contents: Mapping[str, bytes]) -> dict[str, Path]:
        folder = tmp_path / "host"
        folder.mkdir(exist_ok=True)
        files = {}
        for number, (name, data) in enumerate(contents.items()):
            files[name] = folder / str(number)
            files[name].write_bytes(data)
        return files

    return make


def read_iso(path: Path) -> dict[str, bytes]:
    """All files of an ISO's Joliet tree."""
    iso: Any = pycdlib.PyCdlib()
    iso.open(str(path))
    contents = {}
    for folder, _, files in iso.walk(joliet_path="/"):
        for name in files:
            data = io.BytesIO()
            iso.get_file_from_iso_fp(data, joliet_path=f"{folder.rstrip('/')}/{name}")
            contents[f"{folder}/{name}".lstrip("/")] = data.getvalue()
    iso.close()
    return contents


def test_files_come_back_from_a_medium_unchanged(tmp_path: Path, write: Write) -> None:
    contents = {
        "sync.sys": os.urandom(5000),
        "a name with blanks.txt": b"1",
        CHINESE: b"2" * 3000,
        "x" * MAX_NAME: b"3",
        "one/two/three/four/five/six/seven/eight/nine/deep.bin": b"4",
        "😀.txt": b"5",
        "empty.txt": b"",
        "Mixed.Case.TXT": b"6",
    }
    medium = build_medium(write(contents), tmp_path / "iso")
    found = read_iso(medium.path)
    listing = found.pop(medium.marker)
    assert found == contents
    sums = {name: sum_of(data) for name, data in contents.items()}
    assert {name: FileSum(*one) for name, one in medium.files.items()} == sums == parse_sums(listing.decode())
    assert medium.path.name == f"lab-{medium.id}.iso"


@pytest.mark.parametrize("at", [18, 25])
def test_the_same_files_give_the_same_bytes(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    files = write({"b.txt": b"b", "folder/a.txt": b"a"})
    first = build_medium(files, tmp_path / "first")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + at * 86400 * 365)
    time.tzset()
    try:
        second = build_medium(dict(reversed(files.items())), tmp_path / "second")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert first.id == second.id
    assert first.path.read_bytes() == second.path.read_bytes()


def test_another_content_is_another_medium(tmp_path: Path, write: Write) -> None:
    first = build_medium(write({"a": b"1"}), tmp_path)
    second = build_medium(write({"a": b"2"}), tmp_path)
    assert first.path != second.path
    assert first.marker != second.marker
    assert first.label != second.label
    assert len(first.label) == 11


def test_an_existing_medium_is_not_written_again(tmp_path: Path, write: Write) -> None:
    first = build_medium(write({"a": b"1"}), tmp_path / "iso")
    before = first.path.stat()
    assert build_medium(write({"a": b"1"}), tmp_path / "iso") == first
    assert first.path.stat() == before
    assert list((tmp_path / "iso").iterdir()) == [first.path]


def test_the_label_stands_in_both_descriptors(tmp_path: Path, write: Write) -> None:
    medium = build_medium(write({"a": b"1"}), tmp_path)
    data = medium.path.read_bytes()
    assert data[16 * 2048 + 40 : 16 * 2048 + 72].decode().rstrip() == medium.label
    assert data[17 * 2048 + 40 : 17 * 2048 + 72].decode("utf-16-be").rstrip("\0 ") == medium.label


def test_files_of_a_file_and_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "one.txt").write_text("1")
    (tmp_path / "d" / "e" / "two.txt").write_text("2")
    assert files_of(tmp_path / "d" / "one.txt") == {"one.txt": tmp_path / "d" / "one.txt"}
    assert list(files_of(tmp_path / "d")) == ["e/two.txt", "one.txt"]
    with pytest.raises(ConfigError, match="there is no file or folder to copy"):
        files_of(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="has no file to copy"):
        files_of(tmp_path / "empty")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a:b", "':'"),
        ("a;1", "';'"),
        ("what?", "'?'"),
        ("back\\slash", "'\\\\\\\\'"),
        ("line\nend", "\\\\n"),
        ("dot.", "ends in a dot"),
        ("blank ", "ends in a dot or a blank"),
        ("NUL.txt", "for a device"),
        ("com1", "for a device"),
        ("folder//x", "is empty"),
        ("../x", r"`\.\.`"),
        ("", "is empty"),
        ("y" * (MAX_NAME + 1), f"this has {MAX_NAME + 1}"),
        ("😀" * 52, "this has 104"),
        ("\udcff", "udcff"),
    ],
)
def test_a_name_that_a_medium_cannot_hold_is_refused(name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        check_names({name: None})


def test_names_that_are_equal_to_windows_are_refused(tmp_path: Path, write: Write) -> None:
    with pytest.raises(ConfigError, match="same name for Windows"):
        build_medium(write({"A.txt": b"", "a.TXT": b""}), tmp_path)
    with pytest.raises(ConfigError, match="same name for Windows"):
        build_medium(write({"Folder/x": b"", "folder/y": b""}), tmp_path)
    with pytest.raises(ConfigError, match="same name for Windows"):
        build_medium(write({"x": b"", "x/y": b""}), tmp_path)


def test_a_medium_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no file"):
        build_medium({}, tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.txt cannot be put on an ISO: No such file"):
        build_medium({"gone.txt": tmp_path / "gone.txt"}, tmp_path / "iso")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        build_medium({"folder": tmp_path}, tmp_path / "iso")


def test_too_much_is_refused_before_anything_is_written(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = tmp_path / "huge"
    with huge.open("wb") as stream:
        stream.truncate(media.MAX_FILE + 1)
    with pytest.raises(ConfigError, match="at most 4294965248"):
        build_medium({"huge": huge}, tmp_path / "iso")
    monkeypatch.setattr(media, "MAX_TOTAL", 10)
    with pytest.raises(ConfigError, match="12 bytes are too many"):
        build_medium(write({"a": b"123456", "b": b"123456"}), tmp_path / "iso")
    assert not (tmp_path / "iso").exists()


def test_a_full_disk_is_reported_before_anything_is_written(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 100})())
    with pytest.raises(HostToolError, match="100 bytes left"):
        build_medium(write({"a": b"1"}), tmp_path / "iso")
    assert list((tmp_path / "iso").iterdir()) == []


def test_a_file_that_shrinks_while_it_is_written_leaves_no_medium(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write({"a": b"1" * 5000})
    original = media._write

    def vanish(*arguments: Any) -> None:
        files["a"].unlink()
        original(*arguments)

    monkeypatch.setattr(media, "_write", vanish)
    with pytest.raises(ConfigError, match="cannot be put on an ISO"):
        build_medium(files, tmp_path / "iso")
    assert list((tmp_path / "iso").iterdir()) == []


PARTS = st.text(
    alphabet=st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='<>:"/\\|?*;'), min_size=1, max_size=40
).filter(lambda part: not media._refusal(part))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.lists(PARTS, min_size=1, max_size=3).map("/".join), min_size=1, max_size=8))
def test_every_name_that_is_taken_survives(tmp_path: Path, names: list[str]) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"content")
    files = dict.fromkeys(names, source)
    try:
        check_names(files)
    except ConfigError:
        return  # names that are one to Windows; those have their own test
    medium = build_medium(files, tmp_path / "iso")
    found = read_iso(medium.path)
    medium.path.unlink()
    assert set(found) == {*names, medium.marker}
    assert all(found[name] == b"content" for name in names)
