"""Sums over a PE image: its checksum, and the digest that an Authenticode signature is made of.

Both are taken over the bytes of the file. A library that writes an image from its parsed structures may write other bytes:
pefile leaves out the second half of a surrogate pair in a version resource.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import pefile

from lab.toolchain.pages import CHUNK, FilePages

_SECURITY = 4
_CHECKSUM_BYTES = 4
_ENTRY_BYTES = 8
_ZEROES = bytes(CHUNK)


@dataclass(frozen=True, slots=True)
class SumsLayout:
    """Where the parts of an image lie that sums leave out.

    Attributes:
        checksum_at: File offset of the checksum in the optional header.
        entry_at: File offset of the certificate table's entry among the data directories; None: the image has none.
        table_at: File offset of the certificate table; 0: none.
        table_size: Its length in bytes.
    """

    checksum_at: int
    entry_at: int | None
    table_at: int = 0
    table_size: int = 0


def sums_layout(image: pefile.PE) -> SumsLayout:
    """Find these parts in the headers; the table may still lie outside of the file."""
    at = int(image.OPTIONAL_HEADER.get_field_absolute_offset("CheckSum"))
    directories = image.OPTIONAL_HEADER.DATA_DIRECTORY
    if len(directories) <= _SECURITY:
        return SumsLayout(at, None)
    entry = directories[_SECURITY]
    if not entry.Size and not entry.VirtualAddress:
        return SumsLayout(at, int(entry.get_file_offset()))
    return SumsLayout(at, int(entry.get_file_offset()), int(entry.VirtualAddress), int(entry.Size))


def checksum(pages: FilePages, layout: SumsLayout) -> int:
    """The checksum that the header should have, as the kernel's loader computes it.

    The 16-bit words of the file are added with their carries, the checksum's own place counted as zero, and then the file's
    length. Adding carries back is arithmetic modulo 0xffff, so a number of any length can be taken at once.
    """
    total, at, nothing_yet = 0, 0, True
    for data in _without(pages, [(layout.checksum_at, _CHECKSUM_BYTES)], fill=True):
        # Files of gigabytes are mostly holes, and zeroes add nothing.
        if data != _ZEROES[: len(data)]:
            total = (total + (int.from_bytes(data, "little") << (8 * (at % 2)))) % 0xFFFF
            nothing_yet = False
        at += len(data)
    # A sum of words that are not all zero is never zero: 0xffff and 0 are the same number to this modulus.
    folded = total or (0 if nothing_yet else 0xFFFF)
    return (folded + len(pages)) & 0xFFFFFFFF


def authenticode_digest(pages: FilePages, layout: SumsLayout, algorithm: str) -> bytes:
    """Digest of an image without its checksum, the certificate table and the table's entry in the headers.

    Args:
        pages: The file.
        layout: See :func:`sums_layout`.
        algorithm: As :mod:`hashlib` names it.

    Raises:
        ValueError: There is no such algorithm.
    """
    digest = hashlib.new(algorithm)
    left_out = [(layout.checksum_at, _CHECKSUM_BYTES), (layout.table_at, layout.table_size)]
    if layout.entry_at is not None:
        left_out.append((layout.entry_at, _ENTRY_BYTES))
    for data in _without(pages, left_out):
        digest.update(data)
    if not layout.table_size:
        # Signing tools first pad an image to a multiple of eight.
        digest.update(bytes(-len(pages) % _ENTRY_BYTES))
    return digest.digest()


def _without(pages: FilePages, left_out: list[tuple[int, int]], *, fill: bool = False) -> Iterator[bytes]:
    """The file's bytes without some parts, or with zeroes in their places."""
    at = 0
    for start, size in sorted(part for part in left_out if part[1]):
        yield from pages.chunks(at, start)
        if fill:
            yield bytes(size)
        at = max(at, start + size)
    yield from pages.chunks(at, len(pages))
