"""Command lines: the guest program gets the intended arguments."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import ConfigError
from lab.guest.quoting import command_text, escape_cmd, for_cmd, join_arguments, quote_argument, split_program
from tests.guest.labfile_double import windows_arguments

_TEXT = st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), max_size=20)
_AWKWARD = st.text(st.sampled_from(' \t"\\ab%^&|<>()!;,='), max_size=12)
_ARGUMENTS = st.lists(_TEXT | _AWKWARD, max_size=6)
_PROGRAM = st.from_regex(r"[A-Za-z]:(\\[A-Za-z ().&'^-]{1,8}){1,3}\.exe", fullmatch=True)


def as_windows_sees(line: str) -> list[str]:
    """Split a whole command line: the program by its own rule, the rest by that for arguments."""
    if line.startswith('"'):
        program, _, rest = line[1:].partition('"')
    else:
        program, _, rest = re.sub(r"[ \t]", " ", line, count=1).partition(" ")
    return [program, *windows_arguments(rest)]


def as_cmd_passes_on(line: str) -> str:
    """The text that cmd passes on after ``cmd /c``: a caret outside of quotes makes the next character ordinary.

    Fails where a character that cmd acts on is left unprotected.
    """
    line = line.removeprefix("@")
    passed, quoted, at = "", False, 0
    while at < len(line):
        char = line[at]
        if char == "^" and not quoted:
            at += 1
            char = line[at]
        elif char == '"':
            quoted = not quoted
        else:
            assert quoted or char not in "()%!<>&|", f"{char!r} unprotected in {line!r}"
            assert char != "%", f"a percent sign between quotes in {line!r}"
        passed += char
        at += 1
    return passed


@given(_PROGRAM, _ARGUMENTS)
def test_a_program_sees_its_arguments(program: str, arguments: list[str]) -> None:
    assert as_windows_sees(join_arguments([program, *arguments])) == [program, *arguments]


@given(_PROGRAM, _ARGUMENTS)
def test_cmd_passes_everything_on_unchanged(program: str, arguments: list[str]) -> None:
    assert as_windows_sees(as_cmd_passes_on(for_cmd([program, *arguments]))) == [program, *arguments]


@given(_PROGRAM, _ARGUMENTS)
def test_the_program_can_be_split_off_again(program: str, arguments: list[str]) -> None:
    line = join_arguments([program, *arguments])
    found, rest = split_program(line)
    assert found == program
    assert windows_arguments(rest) == arguments


@pytest.mark.parametrize(
    ("argument", "quoted"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("two words", '"two words"'),
        ("C:\\lab\\", "C:\\lab\\"),
        ("C:\\two words\\", '"C:\\two words\\\\"'),
        ('say "hi"', '"say \\"hi\\""'),
        ('\\"', '"\\\\\\""'),
    ],
)
def test_arguments_are_quoted_only_where_needed(argument: str, quoted: str) -> None:
    assert quote_argument(argument) == quoted


def test_cmd_gets_real_quotes_around_a_program_that_needs_them() -> None:
    assert for_cmd(["C:\\two words\\x.exe", "a b"]) == '@"C:\\two words\\x.exe" ^"a b^"'
    assert for_cmd(["x.exe", "%PATH%"]) == "x.exe ^%PATH^%"
    assert escape_cmd("a&b") == "a^&b"


def test_text_is_a_command_as_it_stands_and_a_list_is_quoted() -> None:
    assert command_text("dir & ver", shell=True) == "dir & ver"
    assert command_text(["x", "a&b"], shell=True) == "x a^&b"
    assert command_text(["x", "a&b"], shell=False) == "x a&b"


@pytest.mark.parametrize("command", [[], ["a", "b\nc"], ["a", "b\0"], ['pro"gram'], [""], ["50 %.exe"]])
def test_characters_that_no_command_line_can_contain_are_refused(command: list[str]) -> None:
    with pytest.raises(ConfigError):
        for_cmd(command)


def test_an_empty_line_has_no_program() -> None:
    with pytest.raises(ConfigError, match="no command"):
        split_program("   ")
