"""How files get into one guest: the way that was asked for, and the guest's transport when that fails."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from lab.config.kinds import MEDIA, transport_of_files, ways_of_files
from lab.errors import CommandFailed, ConfigError, GuestExited, GuestHung, LabError
from lab.guest.files import TOOLS_DIR, FileSum, local_sums, parse_sums, run_labfile
from lab.guest.protocol import Transport
from lab.guest.transport_kind import TransportName, transport_kind
from lab.live.cd_drive import CdCopy

#: ``media``: an ISO in the CD drive; or how a transport copies: ``winrm``, ``sftp``.
FilesBy: TypeAlias = str
_MISSING = (2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """How files got into a guest.

    Attributes:
        by: The way, see :data:`FilesBy`; empty when nothing had to be copied.
        copied: How many files were copied; the others were there already.
        note: Why it was not the way that was asked for; empty when it was.
    """

    by: str
    copied: int
    note: str = ""


class Delivery:
    """Brings files into one guest. Used by one thread at a time, the one that uses the guest's transport.

    Args:
        wanted: The way to use.
        transport: The guest's open transport; the way that always works.
        open_transport: Opens another one by name.
        media: The guest's CD drive; None where the image offers none.
        tools_dir: Guest folder that holds ``labfile.exe``.
    """

    def __init__(
        self,
        wanted: FilesBy,
        transport: Transport,
        open_transport: Callable[[TransportName], Transport],
        *,
        media: CdCopy | None = None,
        tools_dir: str = TOOLS_DIR,
    ) -> None:
        self._wanted = wanted
        self._transport = transport
        self._open_transport = open_transport
        self._tools_dir = tools_dir
        self.media = media

    def put(self, source: Path, target: str, *, update: bool = False, timeout: float = 300) -> Delivered:
        r"""Copy a file, or a folder with all that is in it, into the guest; SHA-256 is compared on the guest's side.

        Args:
            source: File or folder of the host.
            target: Windows path of the copy itself, for example ``C:\lab\sync.sys``; parents are made.
            update: Ask the guest first for its files, and copy only those that differ.
            timeout: Seconds for each way that is tried.

        Raises:
            ConfigError: ``source`` does not exist.
            TransportError: The last way failed too, or the guest has ended.
        """
        if not source.exists():
            raise ConfigError(f"there is no file or folder to copy into the guest: {source}")
        if update:
            missing = self._missing(source, target, timeout)
            if not missing:
                return Delivered(by="", copied=0)
            if source.is_dir():
                with tempfile.TemporaryDirectory(prefix="lab-update-") as scratch:
                    return self._put(_select(source, missing, Path(scratch) / "files"), target, len(missing), timeout)
        count = sum(path.is_file() for path in source.rglob("*")) if source.is_dir() else 1
        return self._put(source, target, count, timeout)

    def _put(self, source: Path, target: str, count: int, timeout: float) -> Delivered:
        usual = usual_way(self._transport)
        note = ""
        if self._wanted == MEDIA and self.media is None:
            pass  # the usual way of this image, not a failure
        elif self._wanted != usual:
            try:
                self._by(self._wanted, source, target, timeout)
                return Delivered(by=self._wanted, copied=count)
            except GuestExited:
                raise
            except LabError as error:
                note = f"{self._wanted} failed: {error.message.splitlines()[0]}"
        try:
            self._transport.put(source, target, timeout=timeout)
        except LabError as error:
            if note:
                error.add_note(f"before that, {note}")
            raise
        return Delivered(by=usual, copied=count, note=note)

    def _by(self, way: FilesBy, source: Path, target: str, timeout: float) -> None:
        if way == MEDIA:
            assert self.media is not None
            self.media.put(self._transport, source, target, timeout=timeout)
            return
        name = transport_of_files(way)
        if not name:
            raise ConfigError(f"there is no way {way!r} to copy files", hint=f"known are {', '.join(ways_of_files())}")
        with closing(self._open_transport(name)) as other:
            other.put(source, target, timeout=timeout)

    def _missing(self, source: Path, target: str, timeout: float) -> list[str]:
        """Paths of the files that the guest lacks, or has with other content."""
        wanted = local_sums(source)
        try:
            answer = run_labfile(self._transport, "sum", target, tools_dir=self._tools_dir, timeout=timeout)
        except CommandFailed as error:
            if error.exit_code in _MISSING:
                return list(wanted)
            raise
        except GuestHung:
            return list(wanted)
        there: dict[str, FileSum] = parse_sums(answer.text)
        if source.is_file():
            there = {source.name: next(iter(there.values()))}
        # Windows ignores case.
        known = {name.lower(): one for name, one in there.items()}
        return [name for name, one in wanted.items() if known.get(name.lower()) != one]


def usual_way(transport: Transport) -> FilesBy:
    """How a transport copies files itself."""
    return transport_kind(transport.name).files_by


def _select(source: Path, names: list[str], folder: Path) -> Path:
    """Gather some of a folder's files in a new one."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, folder / name)
    return folder
