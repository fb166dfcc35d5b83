"""Files of the host as an ISO for a guest's CD drive: ISO 9660 with Joliet, which every Windows since 95 and Linux read.

The same files give the same bytes, so a medium is named after its content. Beside the files it holds one more at its top,
``lab-<id>.id``: a guest recognizes the medium by this name, and the file lists the sums of all files.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import mmap
import os
import re
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pycdlib
from pycdlib.pycdlibexception import PyCdlibException

from lab.errors import ConfigError, HostToolError

#: UTF-16 units. Joliet promises 64; a directory record has room for 110, of which mkisofs' -joliet-long uses 103. Windows and
#: Linux read all of these.
MAX_NAME = 103
#: Bytes of one file: a single extent, since Linux and older Windows differ about files in several.
MAX_FILE = 0xFFFFF800
#: Bytes of all files. More than a test should copy: a larger sum means that the wrong folder was named.
MAX_TOTAL = 8 << 30
_SECTOR = 2048
_ROOM = 64 << 20
# Characters that Windows refuses in a name, and the semicolon, which begins a version number in ISO 9660.
_FORBIDDEN = re.compile(r'[\x00-\x1f<>:"/\\|?*;\ud800-\udfff]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_CHUNK = 1 << 20
#: Volume descriptors: kinds 1 (ISO 9660) and 2 (Joliet), their four dates, and the record of their root folder.
_FIRST_DESCRIPTOR, _DATES_AT, _DATES_SIZE, _ROOT_AT = 16, 813, 68, 156
_NO_DATES = (b"0" * 16 + b"\0") * 4
_EPOCH = bytes((80, 1, 1, 0, 0, 0, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Medium:
    """An ISO made of files of the host.

    Attributes:
        path: The ISO.
        id: 16 hexadecimal digits of the content's SHA-256.
        files: Path on the medium, with ``/`` → SHA-256 (hexadecimal) and size in bytes.
    """

    path: Path
    id: str
    files: Mapping[str, tuple[str, int]] = field(repr=False)

    @property
    def label(self) -> str:
        """Volume label; eleven characters, the most that every file system allows."""
        return f"LAB{self.id[:8].upper()}"

    @property
    def marker(self) -> str:
        """Name of the file at the top by which a guest finds the drive."""
        return marker_name(self.id)


def marker_name(medium_id: str) -> str:
    """Name of the file that only the medium of this id has."""
    return f"lab-{medium_id}.id"


def files_of(source: Path) -> dict[str, Path]:
    """What a file or folder of the host is on a medium: the file under its own name, a folder's files under relative paths.

    Raises:
        ConfigError: There is no such file or folder, or the folder holds no file.
    """
    if source.is_file():
        return {source.name: source}
    if not source.is_dir():
        raise ConfigError(f"there is no file or folder to copy: {source}")
    files = {path.relative_to(source).as_posix(): path for path in sorted(source.rglob("*")) if path.is_file()}
    if not files:
        raise ConfigError(f"{source} has no file to copy")
    return files


def check_names(names: Mapping[str, Any]) -> None:
    """Refuse paths that a medium, or Windows, cannot hold.

    Raises:
        ConfigError: Names the path, what is wrong with it, and what is possible.
    """
    seen: dict[str, str] = {}
    for name in names:
        parts = name.split("/")
        for part in parts:
            if reason := _refusal(part):
                raise ConfigError(f"{name!r} cannot be put on an ISO: {reason}", hint="rename it, or copy it over WinRM")
        for end in range(1, len(parts) + 1):
            path = "/".join(parts[:end])
            other = seen.setdefault(path.lower(), path)
            if other != path or (end == len(parts) and any(one.startswith(path + "/") for one in names)):
                raise ConfigError(f"{name!r} and {other!r} are the same name for Windows", hint="rename one of them")


def build_medium(files: Mapping[str, Path], folder: Path) -> Medium:
    """Write files to an ISO, ``lab-<id>.iso`` in a folder; an existing one has the same content and is kept.

    Args:
        files: Path on the medium, with ``/`` → file of the host.
        folder: Gets the ISO; made when it is missing.

    Raises:
        ConfigError: There are no files, a name cannot be used, or files are too large or unreadable.
        HostToolError: The folder's disk has no room.
    """
    if not files:
        raise ConfigError("there is no file to copy")
    check_names(files)
    sizes = {name: _size(path) for name, path in files.items()}
    total = sum(sizes.values())
    if total > MAX_TOTAL:
        raise ConfigError(
            f"{total} bytes are too many for one ISO, which has room for {MAX_TOTAL}", hint="copy fewer files at once"
        )
    sums = {name: _sum(files[name]) for name in sorted(files)}
    listing = "".join(f"{sha256}  {size}  {name}\n" for name, (sha256, size) in sums.items()).encode()
    medium_id = hashlib.sha256(listing).hexdigest()[:16]
    medium = Medium(path=folder / f"lab-{medium_id}.iso", id=medium_id, files=sums)
    if medium.path.exists():
        return medium
    if medium.marker in files:
        raise ConfigError(f"{medium.marker!r} is a name that the lab uses on the ISO", hint="rename it")
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < total + _ROOM:
        raise HostToolError(
            [str(folder)], None, message=f"{folder} has {free} bytes left, the ISO needs {total}", hint="free some space"
        )
    descriptor, part = tempfile.mkstemp(prefix=".medium-", dir=folder)
    os.close(descriptor)
    try:
        _write(medium, files, listing, Path(part))
        _settle_dates(Path(part))
        Path(part).chmod(0o644)
        Path(part).replace(medium.path)
    finally:
        Path(part).unlink(missing_ok=True)
    return medium


class _LongNames(pycdlib.PyCdlib):
    """A pycdlib that measures a Joliet name as the format does, in UTF-16 units instead of bytes of UTF-8.

    With the library's own check 22 Chinese characters are too long already (seen with 1.22).
    """

    def _joliet_name_and_parent_from_path(self, joliet_path: bytes) -> tuple[bytes, Any]:
        parent, _, name = joliet_path.rpartition(b"/")
        return name.decode("utf-8").encode("utf-16_be"), self._find_joliet_record(parent or b"/")


def _write(medium: Medium, files: Mapping[str, Path], listing: bytes, target: Path) -> None:
    iso = _LongNames()
    # The names of ISO 9660 itself are flat and numbered: it allows eight levels and eight letters, and readers of Joliet ignore
    # it.
    iso.new(interchange_level=3, joliet=3, vol_ident=medium.label)
    with contextlib.ExitStack() as opened:
        opened.callback(iso.close)
        try:
            for path in sorted({"/".join(parts[:end]) for parts in map(_parts, files) for end in range(1, len(parts))}):
                iso.add_directory(joliet_path=f"/{path}")
            iso.add_fp(io.BytesIO(listing), len(listing), "/F0000000.;1", joliet_path=f"/{medium.marker}")
            for number, name in enumerate(medium.files, 1):
                iso.add_file(str(files[name]), f"/F{number:07d}.;1", joliet_path=f"/{name}")
            iso.write(str(target))
        except PyCdlibException as error:
            raise ConfigError(f"no ISO can be made of these files: {error}") from error
        except OSError as error:
            raise ConfigError(f"a file cannot be put on an ISO: {error}") from error


def _parts(name: str) -> list[str]:
    return name.split("/")


def _refusal(part: str) -> str:
    """Why a name cannot be used; empty when it can."""
    units = len(part.encode("utf-16-le", "surrogatepass")) // 2
    if not part or part in (".", ".."):
        return "a part of the path is empty, `.` or `..`"
    if found := _FORBIDDEN.search(part):
        return f"it contains {found.group()!r}"
    if part[-1] in ". ":
        return "Windows does not accept a name that ends in a dot or a blank"
    if _DEVICES.fullmatch(part):
        return "Windows reserves this name for a device"
    if units > MAX_NAME:
        return f"a name may have {MAX_NAME} characters, this has {units}"
    return ""


def _size(path: Path) -> int:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ConfigError(f"{path} cannot be put on an ISO: {error.strerror}") from None
    if size > MAX_FILE:
        raise ConfigError(f"{path} has {size} bytes, and a file on an ISO may have at most {MAX_FILE}", hint="split it")
    return size


def _sum(path: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    return digest.hexdigest(), size


def _settle_dates(iso: Path) -> None:
    """Replace the current time, which pycdlib writes into each record, by a fixed date."""
    with iso.open("r+b") as stream, mmap.mmap(stream.fileno(), 0) as data:
        for at in range(_FIRST_DESCRIPTOR * _SECTOR, len(data), _SECTOR):
            kind = data[at]
            if data[at + 1 : at + 6] != b"CD001" or kind == 255:
                return
            if kind in (1, 2):
                data[at + _DATES_AT : at + _DATES_AT + _DATES_SIZE] = _NO_DATES
                for record in _records(data, at + _ROOT_AT):
                    data[record + 18 : record + 25] = _EPOCH


def _records(data: mmap.mmap, root: int) -> Iterator[int]:
    """Offsets of a directory record and of all below it (ECMA-119 9.1)."""
    yield root
    queue, seen = [root], set()
    while queue:
        folder = queue.pop()
        extent, size = struct.unpack_from("<I4xI", data, folder + 2)
        if extent in seen:  # a folder's first two records are itself and its parent
            continue
        seen.add(extent)
        at = extent * _SECTOR
        end = at + size
        while at < end:
            length = data[at]
            if length == 0:  # records do not cross sectors
                at = (at // _SECTOR + 1) * _SECTOR
                continue
            yield at
            if data[at + 25] & 2:
                queue.append(at)
            at += length
