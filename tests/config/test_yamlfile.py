"""What is read of a YAML file is what PyYAML reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lab.config.yamlfile import read_yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path for folder in ("driver", "lab", "tests", "vm-images") for path in (ROOT / folder).rglob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_file_of_the_lab(path: Path) -> None:
    assert read_yaml(path).data == yaml.safe_load(path.read_text(encoding="utf-8"))


def test_aliases_merges_and_types(tmp_path: Path) -> None:
    text = "base: &base {a: 1, when: 2026-03-01}\nmine:\n  <<: *base\n  b: 12:30\nlist: [on, 0x10, *base, 1.5e3, null]\n"
    (tmp_path / "lab.yaml").write_text(text, encoding="utf-8")
    found = read_yaml(tmp_path / "lab.yaml")
    assert found.data == yaml.safe_load(text)
    assert found.misread == {("mine", "b"): "12:30"}
    assert found.line(("mine", "b")) == 4
