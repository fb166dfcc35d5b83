"""Whether two builds of a driver are the same but for when they were made: a digest without time stamps and signatures.

The lab's own builds are equal to the byte for equal sources. Microsoft's linker writes the time of the build into several
places, or a hash in its stead (/Brepro), and a new GUID for the PDB; a signature has its time, too. None of it is code.
"""

from __future__ import annotations

import hashlib
import logging
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import pefile

from lab.toolchain.files import sha256_of
from lab.toolchain.imagesums import sums_layout
from lab.toolchain.package import DriverPackage
from lab.toolchain.pages import FilePages
from lab.toolchain.peimage import opened

_LOG = logging.getLogger(__name__)
_STAMP = 4
_CHECKSUM = 4
_ENTRY = 8
_CODEVIEW, _REPRO = 2, 16
#: Of a CodeView record: ``RSDS``, GUID, age; the name of the PDB follows.
_ID_AT, _ID_SIZE = 4, 20
_WITH_STAMP = ("IMAGE_DIRECTORY_ENTRY_EXPORT", "IMAGE_DIRECTORY_ENTRY_DEBUG")
#: Alignment to which signing pads an image.
_PADDING = 8


def drivers_digest(packages: Sequence[DriverPackage]) -> str:
    """Of all that a guest gets of some drivers: images, registry values, files, and how they are loaded.

    Clients are left out: they belong to the tests.
    """
    found = hashlib.sha256()
    for package in sorted(packages, key=lambda one: one.name):
        parts = [package.name, package.service, package.load_order_group, package.inf, package.encoding, *package.needs]
        parts += [image_digest(package.image), sha256_of(package.registry) if package.registry else ""]
        parts += [f"{file.path.name} {file.sha256} {file.to}" for file in package.files]
        found.update("\0".join(parts).encode("utf-8", "surrogateescape") + b"\n")
    return found.hexdigest()


def image_digest(image: Path) -> str:
    """SHA-256 of an image in which time stamps, the id of its symbols, the checksum and the signature count as zeroes.

    Raises:
        ConfigError: It is not a PE image.
    """
    with opened(image) as (pages, parsed):
        left_out = list(_varying(image, pages, parsed))
        layout = sums_layout(parsed)
        end = layout.table_at if layout.table_size and layout.table_at + layout.table_size >= len(pages) else len(pages)
        data = bytearray(pages.read(0, end))
    for at, size in left_out:
        if at < len(data):
            size = min(size, len(data) - at)
            data[at : at + size] = bytes(size)
    return hashlib.sha256(data + bytes(-len(data) % _PADDING)).hexdigest()


def _varying(image: Path, pages: FilePages, parsed: pefile.PE) -> Iterator[tuple[int, int]]:
    """Offset and size of each place that says when an image was built, and not what it does."""
    layout = sums_layout(parsed)
    yield int(parsed.FILE_HEADER.get_field_absolute_offset("TimeDateStamp")), _STAMP
    yield layout.checksum_at, _CHECKSUM
    if layout.entry_at is not None:
        yield layout.entry_at, _ENTRY
    try:
        parsed.parse_data_directories([pefile.DIRECTORY_ENTRY[name] for name in _WITH_STAMP])
        exports = getattr(parsed, "DIRECTORY_ENTRY_EXPORT", None)
        if exports is not None:
            yield int(exports.struct.get_field_absolute_offset("TimeDateStamp")), _STAMP
        for entry in getattr(parsed, "DIRECTORY_ENTRY_DEBUG", []):
            yield int(entry.struct.get_field_absolute_offset("TimeDateStamp")), _STAMP
            at, size = int(entry.struct.PointerToRawData), int(entry.struct.SizeOfData)
            if entry.struct.Type == _CODEVIEW and pages.read(at, _ID_AT) == b"RSDS":
                yield at + _ID_AT, min(_ID_SIZE, size)
            elif entry.struct.Type == _REPRO:
                yield at, size
    except (pefile.PEFormatError, AttributeError, struct.error, ValueError) as error:
        # Then its stamps count, and an equal build is tested once more.
        _LOG.info("%s: its debug directory cannot be read: %s", image, error)
