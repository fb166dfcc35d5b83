"""Old names that users type: each stays for one release, with a note."""

from __future__ import annotations

import sys


def note_old_name(old: str, new: str, *, where: str = "") -> None:
    """Write one line to standard error: the new name of something that the user named by its old name.

    Args:
        old: What the user wrote.
        new: What it is called now.
        where: The file that has the old name; empty for a command line.
    """
    place = f"{where}: " if where else ""
    sys.stderr.write(f"lab: {place}`{old}` is the old name of `{new}`, which the next release no longer has\n")
