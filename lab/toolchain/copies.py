"""The run's own read-only copies of its drivers, their symbols and their clients, made once and used for the whole run.

The user's files may change at any moment: an IDE, or a run of another checkout, builds them anew. So only the copies are
hashed, checked, signed, delivered, and part of a template's key.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from lab.errors import ConfigError
from lab.toolchain.files import replace_with
from lab.toolchain.places import symbol_file

#: Of files that compilers put beside a driver: Visual Studio's, and those of mingw-w64.
_SYMBOL_SUFFIXES = (".pdb", ".map", ".dbg")
_CHUNK = 1 << 20
#: How often a file that is being written is read again.
_TRIES = 5


class RunCopies:
    """Copies into one new folder: ``NAME/`` for each driver and its symbols, ``clients/`` for programs.

    Args:
        folder: Made with the first copy.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clients: dict[str, tuple[Path, Path]] = {}

    def driver(self, name: str, image: Path) -> Path:
        """Copy a driver, and the files beside it that explain its addresses. Returns the copy."""
        target = self._folder / name / image.name
        copy_of(image, target)
        for file in _symbols(image):
            copy_of(file, target.parent / file.name)
        return target

    def notes(self, name: str, file: Path) -> Path:
        """Copy the compiler's notes of a driver that counts its lines. Returns the copy."""
        target = self._folder / name / file.name
        copy_of(file, target)
        return target

    def beside(self, name: str, file: Path, as_name: str = "") -> tuple[Path, str]:
        """Copy a file that a driver's manifest lists; returns the copy and its SHA-256.

        Args:
            name: The driver.
            file: The file.
            as_name: File name of the copy; empty: the file's own.
        """
        target = self._folder / name / "files" / (as_name or file.name)
        return target, copy_of(file, target)

    def made(self, name: str, file_name: str, data: bytes) -> Path:
        """Write a file that the lab has made for a driver."""
        target = self._folder / name / file_name
        target.parent.mkdir(parents=True, exist_ok=True)
        with replace_with(target) as temporary:
            temporary.write_bytes(data)
            temporary.chmod(0o444)
        return target

    def client(self, file: Path) -> Path:
        """Copy a program; one that several drivers name is copied once. Returns the copy.

        Raises:
            ConfigError: Another one of this name was copied already: in the guest, one would take the other's place.
        """
        source = file.resolve()
        known = self._clients.get(file.name.lower())
        if known is not None:
            if known[0] != source:
                raise ConfigError(
                    f"{file} and {known[0]} have the same name and would overwrite each other in the guest",
                    hint="rename one of the two clients",
                )
            return known[1]
        target = self._folder / "clients" / file.name
        copy_of(file, target)
        self._clients[file.name.lower()] = (source, target)
        return target


def folder_of_process() -> Path:
    """Make a temporary folder that is removed at the end of this process, and not at the end of a fork of it."""
    folder, owner = Path(tempfile.mkdtemp(prefix="lab-drivers-")), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def copied_symbols(image: Path) -> tuple[Path, ...]:
    """The symbols beside the copy of a driver."""
    return tuple(file for file in (image.with_suffix(suffix) for suffix in _SYMBOL_SUFFIXES) if file.is_file())


def copy_of(source: Path, target: Path) -> str:
    """Copy a file as it is at one moment, read-only.

    Args:
        source: The file.
        target: Path of the copy; its folder is made.

    Returns:
        SHA-256 of the copy, lower-case hexadecimal.

    Raises:
        ConfigError: It cannot be read, or changes all the time.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(_TRIES):
        with replace_with(target) as temporary:
            try:
                with source.open("rb") as reader, temporary.open("xb") as writer:
                    before = os.fstat(reader.fileno())
                    digest = _pump(reader, writer)
                    after = os.fstat(reader.fileno())
            except OSError as error:
                if error.filename == str(source):
                    raise ConfigError(f"cannot be read: {error.strerror}", file=str(source)) from None
                raise
            same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
            whole = temporary.stat().st_size == after.st_size
            temporary.chmod(0o444)
        if same and whole:
            return digest
    target.unlink()
    raise ConfigError(
        "changed while it was copied", file=str(source), hint="wait until the program that writes it has finished"
    )


def _pump(reader: BinaryIO, writer: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := reader.read(_CHUNK):
        digest.update(chunk)
        writer.write(chunk)
    return digest.hexdigest()


def _symbols(image: Path) -> Iterable[Path]:
    """The files beside an image that explain its addresses; those of a build by the lab before others."""
    beside = [symbol_file(image), *(image.with_suffix(suffix) for suffix in _SYMBOL_SUFFIXES)]
    return {file.name: file for file in reversed(beside) if file.is_file()}.values()
