"""docs/extending.md shows the files that the tests of this folder install."""

from __future__ import annotations

import re

from tests.extending.packages import HERE

DOCUMENT = HERE.parents[1] / "docs" / "extending.md"
#: A line with the file's name alone, and its text in a block of code.
_SHOWN = re.compile(r"^`tests/extending/([\w.-]+)`:\n\n```\w+\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def shown() -> dict[str, str]:
    return dict(_SHOWN.findall(DOCUMENT.read_text(encoding="utf-8")))


def test_the_document_shows_the_files_as_they_are() -> None:
    assert shown() == {name: (HERE / name).read_text(encoding="utf-8") for name in shown()}


def test_every_toy_is_shown() -> None:
    assert {path.name for path in HERE.glob("toy_*.py")} == shown().keys()
