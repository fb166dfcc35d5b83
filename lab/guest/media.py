r"""Finds a medium in the guest's CD drive and copies its files to their folder.

Drive letters differ between guests, and the previous medium may still show for a moment. So a medium is recognised by a file in
its root folder whose name is unique (:mod:`lab.image.media`). ``labfile.exe`` waits for it in the guest, so that waiting costs
one guest process:

* ``labfile drive SECONDS NAME``      answers the drive, for example ``D:\``
* ``labfile fetch SECONDS NAME DIR``  copies all other files on it into DIR; answers one sum line per file
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lab.errors import CommandFailed, TransportError
from lab.guest.files import TOOLS_DIR, FileSum, compare, parse_sums, run_labfile
from lab.guest.protocol import CommandResult, Transport

_NOT_READY = 21
#: A medium is absent for a moment while it is changed, even for a program that has just seen it: file or folder not found,
#: wrong disk, file invalid, media changed, I/O error, unrecognized media.
_CHANGING = (2, 3, 34, 1006, 1110, 1117, 1785)
#: Seconds that a command may take in addition to its wait for the medium.
_GRACE_S = 30


def find_drive(transport: Transport, marker: str, *, tools_dir: str = TOOLS_DIR, wait_s: int = 30) -> str:
    r"""Wait until the guest sees a medium.

    Args:
        transport: Runs the one guest command.
        marker: Name of the file in the root folder of the medium.
        tools_dir: Guest folder that holds ``labfile.exe``.
        wait_s: Seconds until it must be there.

    Returns:
        The drive, for example ``D:\``.

    Raises:
        TransportError: The guest does not see it in time, or its answer makes no sense.
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
        marker: Name of the file in the root folder of the medium.
        wanted: The files of the medium except the marker: path with ``/`` → sum.
        target: Windows path of the folder; it and its parents are created.
        tools_dir: Guest folder that holds ``labfile.exe``.
        wait_s: Seconds until the medium must be there.
        timeout: Seconds for the copy.

    Raises:
        CommandFailed: labfile ended with a Windows error.
        TransportError: The guest does not see the medium in time, or a copy differs from the file on the medium.
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
