"""Suggestions for a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def one_of(name: str, names: Sequence[str], *, also: Sequence[str] = ()) -> str:
    """A hint: the names close to ``name`` (those in ``also``, too), and all of ``names``."""
    close = difflib.get_close_matches(name, [*names, *also], n=3)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    return f"{meant}available: {', '.join(names)}"
