"""The command line tool `lab`: each module adds one group of commands; they call, they do not know how.

May import everything.
"""

from __future__ import annotations

from lab.cli.main import main

__all__ = ["main"]
