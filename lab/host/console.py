"""Whether output goes to a terminal: asked of the stream itself, not of environment variables.

rich takes a file for a terminal where ``FORCE_COLOR`` or ``TTY_COMPATIBLE`` is set, as many CI jobs do for other programs: a
log then fills with the frames of an animation, and tables wrap at 80 columns. Here these variables decide about colours alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TextIO

from rich.console import Console

#: No line of a log is wrapped.
_LOG_WIDTH = 10_000
_USUAL_WIDTH = 80
_NO = ("", "0", "false", "no")


def is_terminal(stream: TextIO) -> bool:
    """Whether a stream is a terminal."""
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False  # no stream at all, or a closed one


def is_animated(stream: TextIO, environ: Mapping[str, str] | None = None) -> bool:
    """Whether lines on a stream may be drawn anew: a terminal that can, and whose output is not saved.

    Some CI services give their jobs a terminal, and keep every byte of it.
    """
    environ = os.environ if environ is None else environ
    can = environ.get("TERM", "dumb") not in ("", "dumb", "unknown")
    return is_terminal(stream) and can and environ.get("CI", "").lower() in _NO


def open_console(stream: TextIO | None = None, environ: Mapping[str, str] | None = None) -> Console:
    """A console for a stream (standard output): ``is_terminal`` is true of a terminal alone.

    Args:
        stream: Where it writes.
        environ: The environment. ``NO_COLOR`` takes the colours away; ``FORCE_COLOR`` gives them to a log, too.
    """
    stream = sys.stdout if stream is None else stream
    environ = os.environ if environ is None else environ
    terminal = is_terminal(stream)
    forced = not terminal and bool(environ.get("FORCE_COLOR")) and not environ.get("NO_COLOR")
    return Console(
        file=stream,
        force_terminal=terminal,
        force_interactive=is_animated(stream, environ),
        force_jupyter=False,
        color_system="standard" if forced else "auto",
        no_color=bool(environ.get("NO_COLOR")),
        # Text is shown without changes: a path has no markup, and rich's highlighter takes minutes for a line of 100,000
        # characters.
        markup=False,
        emoji=False,
        highlight=False,
        width=_columns(stream) if terminal else _LOG_WIDTH,
    )


def _columns(stream: TextIO) -> int:
    """The real width of a terminal; ``COLUMNS`` may be that of another one."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_WIDTH
    except (OSError, ValueError):
        return _USUAL_WIDTH
