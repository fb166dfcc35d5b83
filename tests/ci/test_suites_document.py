"""docs/suites.md names only tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from lab.guest.capability import capabilities

ROOT = Path(__file__).resolve().parents[2]
SUITES = ROOT / "suites"
#: A test's name without its `test_`, perhaps shortened by an ellipsis; a single word is a capability or a fixture.
_NAME = re.compile(r"`((?:[a-z0-9]+_|…)[a-z0-9_…]+)`")
_FILE = re.compile(r"`([a-z]+/test_[a-z_]+\.py)`")


def rows() -> list[str]:
    """The rows of the document's tables that name tests."""
    sections = re.split(r"^## ", (ROOT / "docs" / "suites.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    named = [s for s in sections if s.startswith(("Documented behaviour", "Hazards", "What a guest must be able to do"))]
    return [line for section in named for line in section.splitlines() if line.startswith("|")]


def named_tests() -> list[tuple[str, str]]:
    """(file, or empty where the row names none before it; name) of every test that a row names."""
    found = []
    for row in rows():
        # The first column holds facts, hazards and capabilities.
        file = ""
        for token in re.finditer(rf"{_FILE.pattern}|{_NAME.pattern}", row.partition(" | ")[2]):
            if token[1]:
                file = token[1]
            elif token[2] not in capabilities():
                found.append((file, token[2]))
    return found


def names_in(pattern: str) -> list[str]:
    """Names of the tests in the suites' files of this name, without ``test_``."""
    return [
        node.name.removeprefix("test_")
        for path in sorted(SUITES.glob(pattern))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


def exists(name: str, tests: list[str]) -> bool:
    """Whether a test has this name; `…` stands for any part."""
    shape = ".*".join(re.escape(part) for part in name.split("…"))
    return any(re.fullmatch(shape, test) for test in tests)


@pytest.mark.parametrize(("file", "name"), named_tests(), ids=lambda value: value or "any")
def test_every_named_test_exists(file: str, name: str) -> None:
    assert exists(name, names_in(file or "**/test_*.py"))


def test_every_named_file_exists() -> None:
    files = {file for row in rows() for file in _FILE.findall(row)}
    assert len(files) > 10
    assert {file for file in files if not (SUITES / file).is_file()} == set()


def test_the_names_are_found() -> None:
    assert len(named_tests()) > 50


def test_a_name_that_is_gone_is_noticed() -> None:
    assert exists("a_reload_…_at_slot_a", names_in("sync/test_counter.py"))
    assert not exists("every_slot_is_padded_with_zero_bytes", names_in("**/test_*.py"))
    assert not exists("a_reload_starts", names_in("**/test_*.py"))
