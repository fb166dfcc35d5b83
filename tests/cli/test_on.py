"""`lab run --on`: the settings of a run on a guest that is up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.cli import on
from lab.config import load_settings


@dataclass
class Up:
    """A registered guest."""

    image_dir: Path

    def find(self, _name: str) -> Up:
        """The only guest."""
        return self


def test_the_vm_settings_of_a_lab_file_are_reported_as_unused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(on, "detached_guests", lambda: Up(tmp_path))
    file = tmp_path / "lab.yaml"
    file.write_text("vm: {memory: 1G}\n", encoding="utf-8")
    settings = on.for_guest(load_settings({}, config=file, environ={}), "wine")
    assert not settings.values.vm.adds
    said = "lab: guest wine keeps its virtual machine; `vm:` (memory 1024 MB) is for fresh guests\n"
    assert capsys.readouterr().err == said
    on.for_guest(settings, "wine")
    assert capsys.readouterr().err == ""
