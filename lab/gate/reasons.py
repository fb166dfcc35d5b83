"""Exceptions in the words of a report: which of them count, what they say, and that in one line."""

from __future__ import annotations

from collections.abc import Iterator

from lab.errors import ConfigError, GuestCrashed, LabError
from lab.gate.blame import blame, place

_LONGEST_REASON = 300


def say_error(error: BaseException, otherwise: str = "") -> str:
    """What an exception says, with the place in the suite that it came out of.

    Args:
        error: The exception.
        otherwise: What is known of an assertion that says nothing itself.
    """
    if isinstance(error, BaseExceptionGroup):
        inner = list(dict.fromkeys(say_error(leaf) for leaf in leaves(error)))
        return f"{error.message}: {'; '.join(inner)}"
    text = error.message if isinstance(error, LabError) else str(error).strip()
    name = type(error).__name__
    at = place(error)
    behind = f" ({at})" if at else ""
    if isinstance(error, ConfigError):
        return text + behind
    if isinstance(error, LabError):
        return text
    if isinstance(error, AssertionError) or name == "Failed":
        return text or otherwise or f"assertion failed{behind}"
    said = f"{name}: {text}" if text else name
    whose = blame(error)
    if whose == "lab":
        return f"the lab itself failed: {said}; please report it with its traceback"
    return f"{said}{behind}" if whose == "test" else f"the host has no space left: {said}{behind}"


def leaves(error: BaseException | None) -> Iterator[BaseException]:
    """The exceptions to judge: those inside of a group, and a crash that another exception was raised from."""
    if error is None:
        return
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
        return
    yield error
    cause = error.__cause__
    while cause is not None:
        if isinstance(cause, GuestCrashed):
            yield cause
        cause = cause.__cause__


def one_line(text: str) -> str:
    """Make one line of at most 300 characters: line ends become blanks, the rest is cut with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 1] + "…"
