"""Whether the files in a guest are those that the run names: the guest computes their SHA-256, for every way of delivery."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import PureWindowsPath

from lab.errors import CommandFailed, TransportError, WrongBinary
from lab.guest.files import NoLabfile, parse_sums, run_labfile
from lab.guest.protocol import Transport
from lab.live.payload import GUEST_FOLDER

_LOG = logging.getLogger(__name__)
_TIMEOUT_S = 60.0
_MISSING = (2, 3)


def verify(transport: Transport, wanted: Mapping[str, str], *, tools_dir: str) -> Mapping[str, str]:
    """Have the guest compute the hashes of files of the payload, and compare.

    Args:
        transport: Of the guest.
        wanted: File name, or full Windows path, → SHA-256, as the run names them; see :meth:`lab.live.payload.Payload.sums`.
        tools_dir: Guest folder of ``labfile.exe``.

    Returns:
        The same, as the guest reported; empty for a guest that has no labfile, which the lab's own images all have.

    Raises:
        WrongBinary: A file is missing or has another content.
        TransportError: The guest does not answer.
    """
    if not wanted:
        return {}
    paths = [_path(name) for name in wanted]
    try:
        answer = run_labfile(transport, "sum", *paths, tools_dir=tools_dir, timeout=_TIMEOUT_S)
    except NoLabfile as error:
        _LOG.warning("the files that the guest loads cannot be compared: %s", error.message.splitlines()[0])
        return {}
    except CommandFailed as error:
        if error.exit_code in _MISSING:
            raise WrongBinary(f"a file of the run is no longer in the guest: {error.message}", hint=_HINT) from error
        raise TransportError(f"the guest could not compute SHA-256 of its files: {error.message}", hint=error.hint) from error
    told = {str(PureWindowsPath(path)).lower(): one.sha256 for path, one in parse_sums(answer.text).items()}
    has = {name: told.get(_path(name).lower(), "(none)") for name in wanted}
    wrong = [name for name, sha256 in wanted.items() if has[name] != sha256]
    if wrong:
        listed = "; ".join(f"{name} has SHA-256 {has[name]}, not {wanted[name]}" for name in wrong)
        raise WrongBinary(f"the guest does not have the files of this run in {GUEST_FOLDER}: {listed}", hint=_HINT)
    return wanted


_HINT = "does a test or a program in the guest write to that folder? If not, run again"


def _path(name: str) -> str:
    """A full path stays what it is."""
    return str(PureWindowsPath(GUEST_FOLDER) / name)
