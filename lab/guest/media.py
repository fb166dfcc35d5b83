r"""The guest's side of a medium in its CD drive: which drive it is, and its files copied to where they belong.

Which letter a drive has differs between guests, and an older medium may be there for moments after the change: a drive is
known by a file at its top whose name only this medium has (:mod:`lab.image.media`). ``labfile.exe`` waits for it in the guest,
so that waiting costs one guest process:

* ``labfile drive SECONDS NAME``      answers the drive, for example ``D:\``
* ``labfile fetch SECONDS NAME DIR``  copies all else that is on it into DIR; answers one sum line per file
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lab.errors import CommandFailed, TransportError
from lab.guest.files import TOOLS_DIR, FileSum, compare, parse_sums, run_labfile
from lab.guest.protocol import CommandResult, Transport

_NOT_READY = 21
#: A medium that is changed is gone for a moment, also behind the back of a program that has just seen it: file or folder not
#: found, wrong disk, file invalid, media changed, I/O error, unrecognized media.
_CHANGING = (2, 3, 34, 1006, 1110, 1117, 1785)
#: Seconds that a command may take beyond the time in which it waits for the medium.
_GRACE_S = 30


def find_drive(transport: Transport, marker: str, *, tools_dir: str = TOOLS_DIR, wait_s: int = 30) -> str:
    r"""Wait until the guest sees a medium.

    Args:
        transport: Runs the one guest command.
        marker: Name of the file at the top of the medium.
        tools_dir: Guest folder that holds ``labfile.exe``.
        wait_s: Seconds until it must be there.

    Returns:
        The drive, for example ``D:\``.

    Raises:
        TransportError: The guest does not see it in time, or answers nonsense.
    """
    answer = _ask(
        transport, marker, ("drive", str(wait_s), marker), tools_dir=tools_dir, timeout=wait_s + _GRACE_S
    ).text.strip()
    if not re.fullmatch(r"[A-Z]:\\", answer):
        raise TransportError(f"labfile gave an answer without a drive: {answer[:200]!r}")
    return answer


def fetch(
    transport: Transport,
    marker: str,
    wanted: Mapping[str, FileSum],
    target: str,
    *,
    tools_dir: str = TOOLS_DIR,
    wait_s: int = 30,
    timeout: float = 300,
) -> None:
    """Wait until the guest sees a medium, copy its files into a folder and compare their SHA-256.

    Args:
        transport: Runs the one guest command.
        marker: Name of the file at the top of the medium.
        wanted: What the medium holds beside the marker: path with ``/`` → sum.
        target: Windows path of the folder; it and its parents are made.
        tools_dir: Guest folder that holds ``labfile.exe``.
        wait_s: Seconds until the medium must be there.
        timeout: Seconds for the copy.

    Raises:
        CommandFailed: labfile ended with a Windows error.
        TransportError: The guest does not see the medium in time, or a copy is not what was put on the medium.
    """
    command = ("fetch", str(wait_s), marker, target)
    try:
        answer = _ask(transport, marker, command, tools_dir=tools_dir, timeout=wait_s + timeout)
    except CommandFailed as error:
        if error.exit_code not in _CHANGING:
            raise
        answer = _ask(transport, marker, command, tools_dir=tools_dir, timeout=wait_s + timeout)
    compare(wanted, parse_sums(answer.text), target, folder=True)


def _ask(transport: Transport, marker: str, command: tuple[str, ...], *, tools_dir: str, timeout: float) -> CommandResult:
    try:
        return run_labfile(transport, *command, tools_dir=tools_dir, timeout=timeout)
    except CommandFailed as error:
        if error.exit_code != _NOT_READY:
            raise
        raise TransportError(
            f"the guest does not see the medium in its CD drive: no drive has {marker}",
            hint="while a program has a file of the old medium open, a guest may not show the new one",
        ) from error
