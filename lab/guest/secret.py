"""Keeps secrets out of tracebacks.

A report shows a failure as pytest does: with the arguments of the calls and, when asked for, with all local variables. So the
lab's own frames hold a secret as a ``SecretStr``, whose repr hides it, up to the library call that needs the text; and the
library's frames are dropped from an error that such a call raises.
"""

from __future__ import annotations

from typing import TypeVar

_Error = TypeVar("_Error", bound=BaseException)


def without_frames(error: _Error) -> _Error:
    """Drop the frames of an error, and those of all errors that caused it; their types and messages stay.

    Returns:
        The same error, for ``raise``.
    """
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = None
        waiting += [one.__cause__, one.__context__]
    return error
