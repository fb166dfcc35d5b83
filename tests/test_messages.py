"""Every text that users can see is in tests/messages.txt, where a change shows, and uses the words of CONTRIBUTING.md."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests import messages
from tests.words import WORDS, old_words


def test_the_catalogue_is_up_to_date() -> None:
    assert messages.DOCUMENT.read_text(encoding="utf-8") == messages.document(), f"run: {messages.COMMAND}"


@pytest.mark.parametrize(
    ("heading", "texts"), list(messages.chapters()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_texts_use_the_words_of_the_table(heading: str, texts: list[str]) -> None:
    assert {text: old_words(text) for text in texts if old_words(text)} == {}, heading


@pytest.mark.parametrize("path", messages.sources(), ids=lambda path: str(path.relative_to(messages.ROOT)))
def test_no_text_is_cut_where_its_line_was_broken(path: Path) -> None:
    """A string alone on a line is no part of the one above it, unless both are in parentheses."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        blocks = (getattr(node, name, None) for name in ("body", "orelse", "finalbody"))
        for before, after in (pair for block in blocks if isinstance(block, list) for pair in pairwise(block)):
            stray = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant | ast.JoinedStr)
            assert not stray, f"{path}:{after.lineno} is not part of line {before.lineno}"


def test_the_words_are_those_of_the_table() -> None:
    table = (messages.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("### Words")[2]
    replaced = " ".join(row.rpartition("|")[0].rpartition("|")[2] for row in table.splitlines() if row.startswith("| "))
    assert [word for word in WORDS if word not in re.findall(r"\w+", replaced)] == []


@pytest.mark.parametrize(
    "text",
    ["nobody asked", "the machine is full", "a frozen guest", "QEMU told us", "the reason behind it", "the tap is silent"],
)
def test_an_old_word_is_found(text: str) -> None:
    assert old_words(text)


@pytest.mark.parametrize(
    "text", ["the virtual machine ended", "machine.disks.0: no file", "`lab tap decode`", "prints: {source: tap}", "tapmark"]
)
def test_what_has_the_same_letters_is_allowed(text: str) -> None:
    assert not old_words(text)


MODULE = '''
"""A docstring is not a message."""
import re
PATTERN = re.compile("not a message, a pattern")
NAME = "not-a-message"

def check(name: str, *, file: Path) -> None:
    """Nor is this one."""
    if name:
        raise ConfigError(f"{name}: wrong", hint="rename")
    log.info("%s is " + "no name", name)
    return f"there are {len(name)} names{' in the file' if file else ''}"
'''


def test_every_kind_of_text_is_collected(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(MODULE, encoding="utf-8")
    assert messages.texts_of(module, {"ConfigError"}) == [
        "{…}: wrong",
        "rename",
        "%s is no name",
        "there are {…} names{…}",
        " in the file",
    ]
