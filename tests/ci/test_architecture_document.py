"""docs/architecture.md maps the packages that exist, and names files that exist; so do the other documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.ci import package_map

ROOT = package_map.ROOT
DOCUMENTS = [
    *sorted(path for path in (ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "driver/README.md", "ci/pipelines/README.md")),
]


def test_the_map_is_up_to_date() -> None:
    text = package_map.DOCUMENT.read_text(encoding="utf-8")
    assert text == package_map.with_map(text), "run: python -m tests.ci.package_map"


def test_every_package_says_what_it_is() -> None:
    assert [name for name in package_map.layers() if not re.fullmatch(r"[A-Z`].{10,160}\.", package_map.sentence(name))] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_a_document_names_exist(document: Path) -> None:
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    named = re.findall(r"`((?:lab|docs|tests|ci|driver|vm-images|suites)/[\w./-]+)`", text)
    assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_of_a_document_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []
