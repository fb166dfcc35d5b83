"""The command by which a user can start this program: ``lab`` need not be on the search path."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

from lab.host.assets import data_root, installed
from lab.report.places import from_folder

#: The command in a hint: after a back quote, or at the beginning of a list of commands.
_COMMAND = re.compile(r"(`|try: |; |&& )lab (?=[a-z])")
#: A page of the checkout; an installation has it among its own data.
_PAGE = re.compile(r"(?<![\w/.-])(?:docs/[\w-]+|driver/README|vm-images/wine/README)\.md\b")


def own_command(folder: Path | None = None, *, search: str | None = None) -> list[str]:
    """The command that starts this program: ``lab`` if the search path finds it, else its path.

    Args:
        folder: The reader's current folder; the process's when None.
        search: The search path; the environment's when None.
    """
    script = Path(sys.executable).with_name("lab")
    found = shutil.which("lab", path=search)
    if found and script.exists() and Path(found).samefile(script):
        return ["lab"]
    if script.exists():
        return [from_folder(script, folder or Path.cwd())]
    return [sys.executable, "-m", "lab"]


def with_own_command(text: str) -> str:
    """A hint's text with the command that works here, and with the real paths of pages of the documentation."""
    if installed():
        text = _PAGE.sub(lambda match: str(data_root() / match[0]), text)
    command = shlex.join(own_command())
    return text if command == "lab" else _COMMAND.sub(lambda match: f"{match[1]}{command} ", text)
