"""Files into a guest by its CD drive: an ISO of them is inserted, and the guest copies them to their paths."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path, PureWindowsPath

from lab.errors import ConfigError
from lab.guest import media as in_guest
from lab.guest.files import TOOLS_DIR, FileSum
from lab.guest.protocol import Transport
from lab.host.passed import passed_over
from lab.image.media import Medium, build_medium, files_of
from lab.vm.medium import change_medium, eject_medium
from lab.vm.protocol import Monitor

_LOG = logging.getLogger(__name__)


class CdCopy:
    """The first CD drive of one guest. Used by one thread at a time, the one that uses the guest's transport.

    Args:
        qmp: The VM's monitor.
        folder: Gets the ISOs; the VM's run folder, because a medium must exist as long as it is in the drive.
        tools_dir: Guest folder that holds ``labfile.exe``.
        wait_s: Seconds until the guest must see a medium. The free guest takes half of one, Windows a few.
    """

    def __init__(self, qmp: Callable[[], Monitor], folder: Path, *, tools_dir: str = TOOLS_DIR, wait_s: int = 30) -> None:
        self._qmp = qmp
        self._folder = folder
        self._tools_dir = tools_dir
        self._wait_s = wait_s
        self._medium: Medium | None = None

    @property
    def medium(self) -> Medium | None:
        """The medium in the drive; None before the first, and after an eject."""
        return self._medium

    def insert(self, files: Mapping[str, Path]) -> Medium:
        """Write files to a medium and insert it, also before the guest has booted; that needs no answer of the guest.

        If the drive has exactly these files already, nothing happens.

        Args:
            files: Path on the medium, with ``/`` → file of the host.

        Raises:
            ConfigError: The files cannot go on a medium, see :func:`lab.image.media.build_medium`.
            TransportError: The drive cannot be changed.
        """
        medium = build_medium(files, self._folder)
        before = self._medium
        if before is not None and before.id == medium.id:
            return medium
        change_medium(self._qmp(), medium.path)
        self._medium = medium
        if before is not None:
            before.path.unlink(missing_ok=True)
        return medium

    def drive(self, transport: Transport) -> str:
        r"""The drive, for example ``D:\``, on which the guest sees the medium: to use its files where they are.

        Raises:
            ConfigError: There is no medium in the drive.
            TransportError: The guest does not see it in time.
        """
        if self._medium is None:
            raise ConfigError("there is no ISO in the CD drive", hint="insert one first")
        return in_guest.find_drive(transport, self._medium.marker, tools_dir=self._tools_dir, wait_s=self._wait_s)

    def put(self, transport: Transport, source: Path, target: str, *, timeout: float = 300) -> None:
        r"""Copy a file, or a folder's files, into the guest and compare SHA-256 on the guest's side.

        Args:
            transport: Runs the one guest command.
            source: File or folder of the host. Empty folders in it are left out.
            target: Windows path of the copy itself, for example ``C:\lab\sync.sys``; parents are made.
            timeout: Seconds for the copy.

        Raises:
            ConfigError: The files cannot go on a medium.
            CommandFailed: The guest could not write them.
            TransportError: The guest does not see the medium, or a copy is not its source.
        """
        files = files_of(source)
        if source.is_file():
            path = PureWindowsPath(target)
            files, target = {path.name: source}, str(path.parent)
        medium = self.insert(files)
        wait = self._wait_s
        wanted = {name: FileSum(*one) for name, one in medium.files.items()}
        in_guest.fetch(transport, medium.marker, wanted, target, tools_dir=self._tools_dir, wait_s=wait, timeout=timeout)

    def eject(self) -> None:
        """Eject the medium, so that no file of the host is in the drive; an empty drive is fine."""
        eject_medium(self._qmp())
        medium, self._medium = self._medium, None
        if medium is not None:
            with passed_over(_LOG, "an ISO that was ejected stays on the host's disk", OSError):
                medium.path.unlink()
