"""Docstrings, comments and names of tests use the words of CONTRIBUTING.md, as the messages do (tests/test_messages.py)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.prose import Prose, prose_of
from tests.words import old_words

ROOT = Path(__file__).resolve().parents[1]
#: The packages of lab/ and the folders of tests/; files beside these belong to ``.``.
FOLDERS = [
    f"{top}/{name}"
    for top in ("lab", "tests")
    for name in (".", *sorted(path.name for path in (ROOT / top).iterdir() if path.is_dir() and any(path.rglob("*.py"))))
]


def files_of(folder: str) -> Iterable[Path]:
    """Its Python files: those below it, but for ``.``, of which the files alone."""
    path = ROOT / folder
    return sorted(path.glob("*.py") if folder.endswith("/.") else path.rglob("*.py"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_prose_uses_the_words_of_the_table(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{one.line}: {', '.join(words)}: {one.text}"
        for path in files_of(folder)
        for one in prose_of(path.read_text(encoding="utf-8"))
        if (words := old_words(one.text))
    ]
    assert not found, "\n".join(found)


MODULE = '''
"""Nobody reads `nobody` here."""
NOBODY = 1  # whoever


# A comment of two lines, told
# behind the other
def test_a_machine_is_told(behind: int) -> None:
    """Check it.

    Args:
        behind: A number; see :func:`told`, ``machine``.
    """
    text = "told"
'''


def test_each_kind_of_prose_is_found_without_code_and_texts() -> None:
    assert prose_of(MODULE) == [
        Prose(2, "Nobody reads here."),
        Prose(3, "whoever"),
        Prose(6, "A comment of two lines, told behind the other"),
        Prose(8, "test a machine is told"),
        Prose(9, "Check it. Args: A number; see , ."),
    ]
