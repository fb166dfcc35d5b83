"""Where drivers are loaded in the free guest, whose kernel is a process: a program of the lab in the guest reports it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from lab.errors import TransportError
from lab.guest.protocol import Transport

PROGRAM = "modlist"
#: Path of the program; it is not among a run's files.
_PLACE = "C:\\lab\\files\\modlist.exe"
_LINE = re.compile(r"([0-9a-f]{1,8}) ([0-9a-f]{1,16}) ([0-9a-f]{1,16}) (.+)")
_ASK_S = 60.0


@dataclass(frozen=True, slots=True)
class LoadedModule:
    """A driver in the guest.

    Attributes:
        process: Windows id of the process that it is in.
        base: Its address there.
        size: Bytes.
        path: Its file in the guest.
    """

    process: int
    base: int
    size: int
    path: str

    @property
    def file(self) -> str:
        """The file's name, in lower case."""
        return PureWindowsPath(self.path).name.lower()


def loaded_modules(transport: Transport, program: Path) -> list[LoadedModule]:
    """Ask a guest for its drivers.

    Args:
        transport: Reaches it.
        program: ``modlist.exe`` for it.

    Raises:
        TransportError: The guest does not answer, or answers something else.
    """
    transport.put(program, _PLACE)
    return parse_modules(transport.run([_PLACE], timeout=_ASK_S, shell=False).check().text)


def parse_modules(text: str) -> list[LoadedModule]:
    """Read the lines of ``modlist``.

    Raises:
        TransportError: A line has another form.
    """
    found = []
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise TransportError(f"modlist printed an unknown line: {line[:200]!r}")
        process, base, size = (int(match[index], 16) for index in (1, 2, 3))
        found.append(LoadedModule(process, base, size, match[4]))
    return found
