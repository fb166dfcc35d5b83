"""A file's bytes, read page by page, so that a few reads are enough even for a file of gigabytes."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import BinaryIO

_PAGE = 1 << 16
_KEPT = 64
#: Longest piece that :meth:`FilePages.chunks` gives.
CHUNK = 1 << 20
#: No structure of an image is larger; a damaged header asks for more.
_LONGEST = 256 << 20


class FilePages:
    """Behaves like the ``bytes`` of a file for code that takes slices of it, such as pefile.

    Read, not mapped: when another process truncates a mapped file, its reader is killed.

    Args:
        file: Opened for reading; stays the caller's.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._fd = file.fileno()
        self._size = os.fstat(self._fd).st_size
        self._page = functools.lru_cache(_KEPT)(self._read_page)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: slice | int) -> bytes | int:
        if isinstance(index, int):
            return self.read(range(self._size)[index], 1)[0]
        start, stop, step = index.indices(self._size)
        return self.read(start, stop - start)[::step]

    def read(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset`` on; fewer at the end of the file.

        Raises:
            ValueError: No image has a structure of that size.
        """
        end = min(offset + size, self._size)
        if end - offset > _LONGEST:
            raise ValueError(f"a part of {end - offset} bytes at {offset} is outside of the image")
        pages = [self._page(number) for number in range(offset // _PAGE, -(-end // _PAGE))] if end > offset else []
        skipped = offset % _PAGE
        return b"".join(pages)[skipped : skipped + max(0, end - offset)]

    def find(self, wanted: bytes, start: int = 0, end: int | None = None) -> int:
        """As :meth:`bytes.find`, for a part that is small enough for :meth:`read`."""
        first, last, _ = slice(start, end).indices(self._size)
        at = self.read(first, last - first).find(wanted)
        return at if at < 0 else first + at

    def chunks(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes from ``start`` to ``end``, a mebibyte at a time, for sums; not kept."""
        while start < end:
            data = os.pread(self._fd, min(CHUNK, end - start), start)
            if not data:
                return
            yield data
            start += len(data)

    def _read_page(self, number: int) -> bytes:
        return os.pread(self._fd, _PAGE, number * _PAGE)
