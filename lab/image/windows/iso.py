"""The user's Windows ISO: is the file an ISO, which editions does it contain, and what is its hash.

Windows ISOs are UDF; the ISO 9660 part of them holds a single read-me file. Only directories and the few ranges that are
needed are read, never a whole file of it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pycdlib
from pycdlib.pycdlibexception import PyCdlibException

from lab.errors import ConfigError, ImageError
from lab.host.textfile import marked_encoding
from lab.image.windows.wim import Edition, ReadAt, choose_edition, read_editions

#: Called with the bytes done and the bytes in all.
HashProgress = Callable[[int, int], None]
_CHUNK = 4 << 20
#: lang.ini and ei.cfg have some lines.
_INI_LIMIT = 64 << 10
_NAMES = ("install.wim", "install.esd")
#: Setup looks for these in the top folder of each CD.
_ANSWERS = ("autounattend.xml", "unattend.xml")
#: Folders of an ISO that the Media Creation Tool makes for both processors; each has a Setup of its own.
_BOTH = ("x64", "x86")
_WHERE = "give an ISO of Windows, for example an evaluation ISO from Microsoft's Evaluation Center"
_AGAIN = "download the ISO again, and compare its SHA-256 with the publisher's"


@dataclass(frozen=True, slots=True)
class WindowsIso:
    """What is known of a Windows ISO.

    Attributes:
        path: The file.
        size: Its length in bytes.
        label: Its volume label.
        install_file: The file in it that holds the images, for example ``/sources/install.wim``.
        editions: The images.
        setup_languages: Languages of its Setup, from lang.ini; empty when there is none.
        only_edition: The one edition that ei.cfg lets Setup install; empty when all can be.
        channel: How its licences are sold, from ei.cfg: ``Retail``, ``Volume``, ``OEM``, ``Eval``; empty: not known.
        has_key: It has a product key of its own, in sources/pid.txt.
        own_answer_file: An answer file in its top folder, which Setup finds beside the lab's; empty when there is none.
        boot_loaders: File names of its UEFI boot loaders: ``bootx64.efi``.
    """

    path: Path
    size: int
    label: str
    install_file: str
    editions: tuple[Edition, ...]
    setup_languages: tuple[str, ...] = ()
    only_edition: str = ""
    channel: str = ""
    has_key: bool = False
    own_answer_file: str = ""
    boot_loaders: tuple[str, ...] = ()

    def choose(self, wanted: tuple[str, ...]) -> Edition:
        """The image that a recipe wants; see :func:`lab.image.windows.wim.choose_edition`."""
        return choose_edition(self.editions, wanted, file=str(self.path))


def inspect_iso(path: Path) -> WindowsIso:
    """Look into an ISO.

    Args:
        path: The file; it is only read.

    Raises:
        ConfigError: There is no such file, it is not an ISO, not a Windows ISO, or is cut off.
    """
    with _opened(path) as (stream, iso):
        size = os.fstat(stream.fileno()).st_size
        udf = bool(iso.has_udf())
        name = _install_file(iso, path, udf=udf)
        pieces = _pieces(iso, name, udf=udf)
        if any(start + length > size for start, length in pieces):
            end = max(start + length for start, length in pieces)
            raise ConfigError(f"{path} is truncated: {name} would end at byte {end}, and the file has {size}", hint=_AGAIN)
        total = sum(length for _start, length in pieces)
        editions = read_editions(_reader(stream, pieces), total, file=f"{name} in {path}")
        lang, ei = (_ini(stream, iso, name.rpartition("/")[0], file, udf=udf) for file in ("lang.ini", "ei.cfg"))
        return WindowsIso(
            path,
            size,
            _label(iso),
            name,
            editions,
            setup_languages=tuple(line.partition("=")[0].strip() for line in lang.get("available ui languages", [])),
            only_edition=next(iter(ei.get("editionid", [])), ""),
            channel="Volume" if ei.get("vl") == ["1"] else next(iter(ei.get("channel", [])), ""),
            has_key="pid.txt" in _children(iso, **_where(name.rpartition("/")[0], udf=udf)),
            own_answer_file=next((one for low, one in _children(iso, **_where("/", udf=udf)).items() if low in _ANSWERS), ""),
            boot_loaders=_boot_loaders(iso, udf=udf),
        )


def hash_file(path: Path, progress: HashProgress | None = None) -> str:
    """SHA-256 of a file, as hexadecimal digits.

    Args:
        path: The file.
        progress: Called at the start, after each 4 MiB, and at the end.

    Raises:
        ImageError: It cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            total = os.fstat(stream.fileno()).st_size
            done = 0
            while True:
                if progress:
                    progress(done, total)
                chunk = stream.read(_CHUNK)
                if not chunk:
                    return digest.hexdigest()
                digest.update(chunk)
                done += len(chunk)
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}", hint="check the path and its permissions") from None


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, Any]]:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise ConfigError(f"{path} cannot be opened: {error.strerror}", hint="check the path and its permissions") from None
    with stream:
        iso = pycdlib.PyCdlib()
        try:
            iso.open_fp(stream)
        except PyCdlibException as error:
            raise _not_an_iso(path, stream, str(error)) from None
        except Exception as error:
            # Damage also shows in pycdlib as struct.error, IndexError and the like; all of them mean that the file is damaged.
            raise _not_an_iso(path, stream, f"{type(error).__name__}: {error}") from None
        try:
            yield stream, iso
        finally:
            iso.close()


def _not_an_iso(path: Path, stream: BinaryIO, said: str) -> ConfigError:
    stream.seek(16 * 2048 + 1)
    if stream.read(5) == b"CD001":
        return ConfigError(f"{path} is an ISO that is truncated or damaged: {said}", hint=_AGAIN)
    return ConfigError(f"{path} is not an ISO file: {said}", hint=_WHERE)


def _install_file(iso: Any, path: Path, *, udf: bool) -> str:
    """Path of install.wim or install.esd in the ISO, in the ISO's own spelling."""
    if not udf and not iso.has_joliet():
        raise ConfigError(f"{path} is an ISO without a UDF file system, so it is not a Windows ISO", hint=_WHERE)
    root = _children(iso, **_where("/", udf=udf))
    sources = root.get("sources")
    inside = _children(iso, **_where(f"/{sources}", udf=udf)) if sources else {}
    for name in _NAMES:
        if name in inside:
            return f"/{sources}/{inside[name]}"
    if "install.swm" in inside:
        raise ConfigError(f"{path} has a split install.swm", hint="use the ISO as Microsoft publishes it, not a repacked one")
    if all(name in root for name in _BOTH):
        raise ConfigError(
            f"{path} is for x86 and x64 processors, with a Setup for each, and which of them starts is a question to a person",
            hint="use the ISO for 64-bit (x64) processors alone",
        )
    found = ", ".join(sorted(root.values())[:12]) or "nothing"
    raise ConfigError(f"{path} has no sources/install.wim and no sources/install.esd; its top folder has: {found}", hint=_WHERE)


def _boot_loaders(iso: Any, *, udf: bool) -> tuple[str, ...]:
    """The names in efi/boot, in lower case; empty where there is no such folder."""
    folder = ""
    for part in ("efi", "boot"):
        found = _children(iso, **_where(folder or "/", udf=udf)).get(part)
        if found is None:
            return ()
        folder = f"{folder}/{found}"
    return tuple(sorted(name for name in _children(iso, **_where(folder, udf=udf)) if name.endswith(".efi")))


def _where(path: str, *, udf: bool) -> dict[str, str]:
    """A path as pycdlib's methods take it."""
    return {"udf_path" if udf else "joliet_path": path or "/"}


def _children(iso: Any, **where: str) -> dict[str, str]:
    """Names in a directory: lower case -> as they are written."""
    for _folder, folders, files in iso.walk(**where):
        names = [str(name).removesuffix(";1") for name in (*folders, *files)]
        return {name.lower(): name for name in names}
    return {}


def _pieces(iso: Any, name: str, *, udf: bool) -> tuple[tuple[int, int], ...]:
    """The places of a file's parts (extents in pycdlib): UDF stores files of more than a gigabyte in several pieces."""
    extents = iso.get_file_byte_extents(**_where(name, udf=udf))
    return tuple((int(start), int(length)) for start, length in extents)


def _ini(stream: BinaryIO, iso: Any, folder: str, wanted: str, *, udf: bool) -> dict[str, list[str]]:
    """A small file of Setup: section in lower case -> its lines. Empty where there is no such file, or it cannot be parsed."""
    name = _children(iso, **_where(folder, udf=udf)).get(wanted)
    if name is None:
        return {}
    pieces = _pieces(iso, f"{folder}/{name}", udf=udf)
    data = _reader(stream, pieces)(0, min(sum(length for _start, length in pieces), _INI_LIMIT))
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in map(str.strip, data.decode(marked_encoding(data) or "cp1252", "replace").splitlines()):
        if line.startswith("[") and line.endswith("]"):
            lines = sections.setdefault(line[1:-1].strip().lower(), [])
        elif line and not line.startswith(";"):
            lines.append(line)
    return sections


def _label(iso: Any) -> str:
    return bytes(iso.pvd.volume_identifier).decode("ascii", "replace").strip()


def _reader(stream: BinaryIO, pieces: tuple[tuple[int, int], ...]) -> ReadAt:
    """Reads ranges of a file that lies in pieces in ``stream``."""

    def read_at(offset: int, size: int) -> bytes:
        data = b""
        for start, length in pieces:
            if size and offset < length:
                part = min(size, length - offset)
                stream.seek(start + offset)
                data += stream.read(part)
                size -= part
                offset = 0
            else:
                offset = max(0, offset - length)
        return data

    return read_at
