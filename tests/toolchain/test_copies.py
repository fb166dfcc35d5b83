"""Copies of files that another process may be writing at this moment."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from lab.errors import ConfigError
from lab.toolchain import copies as copies_module
from lab.toolchain.copies import RunCopies, copied_symbols, copy_of


def test_a_copy_is_read_only_and_has_its_hash(tmp_path: Path) -> None:
    (tmp_path / "a.sys").write_bytes(b"driver")
    digest = copy_of(tmp_path / "a.sys", tmp_path / "run" / "a.sys")
    assert digest == hashlib.sha256(b"driver").hexdigest()
    assert (tmp_path / "run" / "a.sys").stat().st_mode & 0o777 == 0o444
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["a.sys"]


@pytest.mark.parametrize("times", [1, 99])
def test_a_file_that_grows_while_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """While a linker writes, half of its file is not a driver."""
    source, target = tmp_path / "a.sys", tmp_path / "run" / "a.sys"
    source.write_bytes(b"first")
    left = [times]
    real = copies_module._pump

    def pump(reader: BinaryIO, writer: BinaryIO) -> str:
        digest = real(reader, writer)
        if left[0]:
            left[0] -= 1
            source.write_bytes(source.read_bytes() + b" and more")
            os.utime(source, ns=(0, left[0]))
        return digest

    monkeypatch.setattr(copies_module, "_pump", pump)
    if times == 1:
        assert copy_of(source, target) == hashlib.sha256(b"first and more").hexdigest()
        assert target.read_bytes() == b"first and more"
    else:
        with pytest.raises(ConfigError, match="changed while it was copied"):
            copy_of(source, target)
        assert not list(target.parent.iterdir())


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.sys: cannot be read: No such file"):
        copy_of(tmp_path / "none.sys", tmp_path / "copy")


def test_symbols_come_along_and_those_of_a_build_win(tmp_path: Path) -> None:
    image = tmp_path / "build" / "a.sys"
    (image.parent / ".symbols").mkdir(parents=True)
    for file, text in ((image, "sys"), (image.with_suffix(".pdb"), "pdb"), (image.with_suffix(".dbg"), "left behind")):
        file.write_text(text)
    (image.parent / ".symbols" / "a.dbg").write_text("of the build")
    copy = RunCopies(tmp_path / "run").driver("mine", image)
    assert {file.name: file.read_text() for file in copied_symbols(copy)} == {"a.pdb": "pdb", "a.dbg": "of the build"}


def test_a_client_of_several_drivers_is_copied_once(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "probe.exe").write_text(folder)
    copies = RunCopies(tmp_path / "run")
    assert copies.client(tmp_path / "a" / "probe.exe") == copies.client(tmp_path / "b" / ".." / "a" / "probe.exe")
    with pytest.raises(ConfigError, match="have the same name"):
        copies.client(tmp_path / "b" / "probe.exe")
