"""Opens a PE image by pages, with errors that say what is wrong with another file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pefile

from lab.errors import ConfigError
from lab.toolchain.imagesums import sums_layout
from lab.toolchain.pages import FilePages

_SHORTEST = 0x40
_AGAIN = "build or copy it again"
#: First bytes of files that users name by mistake.
_OTHER_FILES = (
    (b"version https://git-lfs", "a Git LFS pointer: `git lfs pull` gets the file"),
    (b"\x7fELF", "an ELF file of Linux"),
    (b"PK\x03\x04", "a zip archive: unpack it first"),
    (b"MSCF", "a cabinet: unpack it first"),
    (b"!<arch>\n", "a library of object files: link it first"),
    (b"-----BEGIN", "a certificate or key in PEM"),
)


@contextmanager
def opened(path: Path) -> Iterator[tuple[FilePages, pefile.PE]]:
    """Open an image and read its headers and its table of sections.

    Gives:
        The file's bytes, and pefile's view of it without any directory.

    Raises:
        ConfigError: The file cannot be read, is empty, is cut off, or is not a PE image.
    """
    try:
        with path.open("rb") as file:
            pages = FilePages(file)
            yield pages, _headers(path, pages)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from None


def _headers(path: Path, pages: FilePages) -> pefile.PE:
    if not len(pages):
        raise ConfigError("is empty, so it is not a Windows image", file=str(path), hint=_AGAIN)
    try:
        image = pefile.PE(data=pages, fast_load=True)
        ends = [("its headers", int(image.OPTIONAL_HEADER.SizeOfHeaders))]
        for section in image.sections:
            if section.SizeOfRawData and section.PointerToRawData:
                ends.append((f"section {section_name(section)}", int(section.PointerToRawData) + int(section.SizeOfRawData)))
        sums_layout(image)
    except Exception as error:
        # pefile has an error for what it expects; damage shows as struct.error, AttributeError and others, too.
        raise damaged(path, error, pages.read(0, _SHORTEST)) from None
    where, end = max(ends, key=lambda item: item[1])
    if end > len(pages):
        raise ConfigError(
            f"is truncated: {where} would end at byte {end}, and the file has {len(pages)}",
            file=str(path),
            hint=_AGAIN,
        )
    return image


def damaged(path: Path, error: Exception, begin: bytes = b"MZ") -> ConfigError:
    """The error for a file whose structures cannot be read; ``begin`` is how it begins."""
    told = f"{error}" if isinstance(error, pefile.PEFormatError) else f"{type(error).__name__}: {error}"
    if begin.startswith(b"MZ"):
        said = f"is not a Windows image, or is truncated or damaged: {told}"
        return ConfigError(said, file=str(path), hint=_AGAIN)
    known = next((words for start, words in _OTHER_FILES if begin.startswith(start)), "")
    seems = f"it seems to be {known}" if known else f"it begins with {begin[:8]!r}, not with 'MZ'"
    return ConfigError(f"is not a Windows image: {seems}", file=str(path), hint="give a .sys file")


def section_name(section: pefile.SectionStructure) -> str:
    """A section's name."""
    return printable(bytes(section.Name).rstrip(b"\0").decode("ascii", "backslashreplace"))


def printable(text: str) -> str:
    """Text from an untrusted file, safe for a terminal: control characters are escaped."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
