"""The command line tool `lab`: each module has one group of commands, and calls the packages below for the work.

May import everything.
"""

from __future__ import annotations

from lab.cli.main import main

__all__ = ["main"]
