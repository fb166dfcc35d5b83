"""What a driver has in the guest beside its file and its service: files with paths of their own, and registry values."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import PureWindowsPath

from lab.errors import GuestRefuses
from lab.guest.protocol import CommandResult, Transport
from lab.live.payload import Payload, guest_path
from lab.toolchain.package import DriverPackage, PlacedFile, Spot

_LOG = logging.getLogger(__name__)
#: A full path, because a program that is started without cmd is not looked for everywhere.
REG = r"C:\windows\system32\reg.exe"
_TIMEOUT_S = 60.0
#: cmd takes 8191 characters, and hangs or cuts beyond; the transport adds some of its own.
#: https://learn.microsoft.com/troubleshoot/windows-client/shell-experience/command-line-string-limitation
_LONGEST = 6000
_AND = " && "


def place_files(transport: Transport, payload: Payload) -> None:
    """Copy files from the run's folder in the guest to where their drivers look for them; few guest commands for all.

    Raises:
        GuestRefuses: The guest refuses one of them; with its line in the manifest.
        TransportError: The guest does not answer.
    """
    for group in _groups(payload.placed):
        done = transport.run(_AND.join(group.values()), timeout=_TIMEOUT_S)
        if not done.exit_code:
            continue
        # The answer does not say which file it was.
        for file, command in group.items():
            alone = done if len(group) == 1 else transport.run(command, timeout=_TIMEOUT_S)
            if alone.exit_code:
                raise _refused(
                    f"the guest does not accept {file.to}", alone, file.spot, "does the drive exist, and is it writable?"
                )
        _LOG.warning("files were copied at the second attempt: %s", _said(done))


def import_registry(transport: Transport, driver: DriverPackage) -> None:
    """Import a driver's registry values, if it has some.

    Raises:
        GuestRefuses: The guest refuses them; with their line in the manifest.
        TransportError: The guest does not answer.
    """
    if driver.registry is None:
        return
    path = guest_path(driver.registry)
    done = transport.run([REG, "import", path], timeout=_TIMEOUT_S, shell=False)
    if done.exit_code:
        hint = f"`reg import {path}` in the guest, see `lab shell`"
        raise _refused(f"{path} cannot be imported", done, driver.registry_spot, hint)


def _groups(files: list[PlacedFile]) -> Iterator[Mapping[PlacedFile, str]]:
    """The commands, as many in one line as cmd accepts."""
    group: dict[PlacedFile, str] = {}
    length = 0
    for file in files:
        folder = PureWindowsPath(file.to).parent
        command = f'(if not exist "{folder}\\" md "{folder}") && copy /y "{guest_path(file.path)}" "{file.to}"'
        if group and length + len(command) > _LONGEST:
            yield group
            group, length = {}, 0
        group[file] = command
        length += len(command) + len(_AND)
    if group:
        yield group


def _refused(what: str, result: CommandResult, spot: Spot, hint: str) -> GuestRefuses:
    said = f"{what}: it answered {result.exit_code}: {_said(result)[-400:]}"
    return GuestRefuses(said, file=spot.file, key=spot.key, line=spot.line, hint=hint)


def _said(result: CommandResult) -> str:
    return " ".join(f"{result.text} {result.error_text}".split())
