"""Errors that change nothing, and are logged all the same: what was passed over explains what happens later."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def passed_over(logger: logging.Logger, what: str, *kinds: type[BaseException], level: int = logging.INFO) -> Iterator[None]:
    """Go on behind the body in spite of an error of these kinds, and log what it was and what caused it.

    Args:
        logger: Of the module that goes on.
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
