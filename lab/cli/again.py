"""Commands to copy: they work as printed, from the reader's current folder."""

from __future__ import annotations

import shlex
from pathlib import Path

from lab.cli.invocation import own_command
from lab.config import LabFile, Settings
from lab.config.setting_table import keys_of
from lab.report.model import TestEntry
from lab.report.places import address_of, file_of

#: Settings that the command always contains.
_NAMED = ("image", "drivers")


def next_command(test: TestEntry, settings: Settings, *, root: str = "") -> str:
    """The command that runs one red test alone; for failures of the lab, the one that checks this host first.

    Args:
        test: The test.
        settings: Of its run.
        root: pytest's root folder in that run.

    Returns:
        The line for a shell; empty if the entry is not a test.
    """
    if root and file_of(test.nodeid, root) is None:
        return ""
    values = settings.values
    lab = own_command()
    command = [*lab, "run", "--guest", values.image, "--workers", "1"]
    if settings.file is not None:
        command += ["--config", str(settings.file)]
    for driver in values.drivers if settings.sources["drivers"] != "lab file" else ():
        command += ["--driver", driver]
    for key in keys_of(LabFile):
        if "run" in key.commands and key.setting.repeated and key.name not in _NAMED and settings.sources[key.name] == "option":
            command += key.words(getattr(values, key.name))
    if test.verdict == "product":
        command += ["--keep", "failed"]
    line = shlex.join([*command, address_of(test.nodeid, root, Path.cwd())])
    return f"{shlex.join([*lab, 'doctor'])} && {line}" if test.verdict == "infra" else line
