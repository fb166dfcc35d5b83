"""The table of messages in docs/troubleshooting.md quotes what the code really says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from lab.guest.win32 import lookup

ROOT = Path(__file__).resolve().parents[2]
#: Placeholders for a value in a quoted message.
_VALUE = re.compile(r"…|\b(?:N|NAME|TEST|DATE)\b")
#: A message with fewer letters of its own would match nearly everything.
_LETTERS = 3


def quoted_messages() -> list[str]:
    """The quoted texts of the first column of the table."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    table = text.partition("| message |")[2].partition("\n\n")[0].splitlines()[2:]
    return [
        quote
        for row in table
        for quote in re.findall(r"`([^`]+)`", row.split(" | ")[0])
        if not quote.startswith(("lab ", "sc "))
    ]


def messages_of_the_code() -> list[re.Pattern[str]]:
    """Every text of the sources as a regular expression: values of f-strings match anything, white space any white space."""
    found: list[re.Pattern[str]] = []
    for path in sorted((ROOT / "lab").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            own = [p.value if isinstance(p, ast.Constant) and isinstance(p.value, str) else None for p in parts]
            if sum(character.isalpha() for text in own if text for character in text) >= _LETTERS:
                found.append(
                    re.compile(
                        "".join("(.*)" if text is None else re.sub(r"(\\\s)+", r"\\s+", re.escape(text)) for text in own)
                    )
                )
    return found


def said(quote: str, messages: list[re.Pattern[str]]) -> bool:
    """Whether the lab can print the quoted text."""
    windows = re.fullmatch(r"(\d+) \((ERROR_\w+)\)", quote)
    if windows:
        return lookup(int(windows[1])).name == windows[2]
    text = _VALUE.sub("7", quote)
    return any(
        # The words in the place of a value must be words of the code, too.
        all(not re.search("[A-Za-z]", value) or (value != text and said(value, messages)) for value in match.groups())
        for match in (message.fullmatch(text) for message in messages)
        if match
    )


@pytest.fixture(scope="module")
def messages() -> list[re.Pattern[str]]:
    return messages_of_the_code()


@pytest.mark.parametrize("quote", quoted_messages())
def test_the_code_says_what_the_page_quotes(quote: str, messages: list[re.Pattern[str]]) -> None:
    assert said(quote, messages)


def test_the_table_is_found() -> None:
    assert len(quoted_messages()) >= 10


@pytest.mark.parametrize(
    "quote",
    [
        "no usable KVM …; using TCG",
        "BootTimeout: … did not answer within …",
        "GuestExited: QEMU ended …",
        "known issue: … has expired",
        "577 (ERROR_DRIVER_BLOCKED)",
    ],
)
def test_a_message_that_the_code_never_says_is_noticed(quote: str, messages: list[re.Pattern[str]]) -> None:
    assert not said(quote, messages)
