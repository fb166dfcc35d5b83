from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.errors import ConfigError, HostToolError
from lab.host.process import run
from lab.vm.disk import create_overlay


def test_an_overlay_names_its_base_by_full_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "base.raw"
    base.write_bytes(bytes(1 << 20))
    (tmp_path / "run").mkdir()
    target = tmp_path / "run" / "overlay.qcow2"
    monkeypatch.chdir(tmp_path)
    create_overlay(Path("base.raw"), target, base_format="raw")
    info = json.loads(run(["qemu-img", "info", "--output=json", target], 60).stdout)
    assert (info["format"], info["backing-filename"], info["backing-filename-format"]) == ("qcow2", str(base), "raw")
    assert info["virtual-size"] == 1 << 20


def test_an_old_overlay_is_replaced(tmp_path: Path) -> None:
    base = tmp_path / "base.raw"
    base.write_bytes(bytes(1 << 20))
    target = tmp_path / "overlay.qcow2"
    target.write_bytes(b"left over")
    create_overlay(base, target, base_format="raw")
    assert target.read_bytes()[:4] == b"QFI\xfb"


def test_missing_and_unusable_bases(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.qcow2"):
        create_overlay(tmp_path / "none.qcow2", tmp_path / "overlay.qcow2")
    (tmp_path / "text.qcow2").write_text("not a disk")
    with pytest.raises(HostToolError, match="qemu-img ended with 1"):
        create_overlay(tmp_path / "text.qcow2", tmp_path / "overlay.qcow2")
