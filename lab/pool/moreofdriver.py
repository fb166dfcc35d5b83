"""What a driver has in the guest beside its file and its service: files at places of their own, and registry values."""

from __future__ import annotations

from pathlib import PureWindowsPath

from lab.errors import TransportError
from lab.guest.protocol import CommandResult, Transport
from lab.pool.payload import Payload, guest_path

#: A full path, because a program that is started without cmd is not looked for everywhere.
REG = r"C:\windows\system32\reg.exe"
_TIMEOUT_S = 60.0


def place_files(transport: Transport, payload: Payload) -> None:
    """Copy files from the run's folder in the guest to where their drivers look for them; one guest command for all.

    Raises:
        TransportError: The guest refused.
    """
    calls = []
    for target, file in payload.placed.items():
        folder = PureWindowsPath(target).parent
        calls.append(f'(if not exist "{folder}\\" md "{folder}") && copy /y "{guest_path(file)}" "{target}"')
    if calls:
        _checked(transport.run(" && ".join(calls), timeout=_TIMEOUT_S), "files cannot be put where the manifest wants them")


def import_registry(transport: Transport, path: str) -> None:
    """Import a file of registry values.

    Args:
        transport: Of the guest.
        path: Windows path of the file.

    Raises:
        TransportError: The guest refused.
    """
    _checked(transport.run([REG, "import", path], timeout=_TIMEOUT_S, shell=False), f"{path} cannot be imported")


def _checked(result: CommandResult, what: str) -> None:
    if result.exit_code:
        said = " ".join(f"{result.text} {result.error_text}".split())
        raise TransportError(
            f"{what}: the guest answered {result.exit_code}: {said[-400:]}", hint="`files` and `registry` of driver.yaml"
        )
