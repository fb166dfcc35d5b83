"""Errors that are ignored, but logged: an ignored error may explain what happens later."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def passed_over(logger: logging.Logger, what: str, *kinds: type[BaseException], level: int = logging.INFO) -> Iterator[None]:
    """Ignore an error of these kinds in the body, and log it with its causes.

    Args:
        logger: The logger of the caller's module.
        what: What did not work, as the beginning of a sentence.
        kinds: The errors; others are raised.
        level: Of the log line. At level ``debug`` of the logger, a traceback follows.
    """
    try:
        yield
    except kinds as error:
        logger.log(level, "%s: %s", what, said(error), exc_info=logger.isEnabledFor(logging.DEBUG))


def said(error: BaseException) -> str:
    """An error and its causes in one line, each with its type and the first line of its text."""
    parts: list[str] = []
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        first = str(one).strip().partition("\n")[0]
        parts.append(f"{type(one).__name__}: {first}" if first else type(one).__name__)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return ", because of ".join(parts)
