"""RAM of a VM in a memory file without a name, for its snapshot; and the copy on the disk, which is sparse."""

from __future__ import annotations

import os
from pathlib import Path

from lab.vm.spec import MemoryFile

_CHUNK = 1 << 20
#: Zeroes are left out of a RAM file in pieces of this size. A guest that frees memory does not return it to the host.
_GRAIN = 1 << 16


class RamFile:
    """RAM of a VM whose snapshot will be taken: a file in memory without a name, gone with its last user.

    Args:
        size_mb: Size in MiB; memory is used only as the guest writes to it.
    """

    def __init__(self, size_mb: int) -> None:
        self._fd = os.memfd_create("lab-guest-ram", os.MFD_CLOEXEC)
        os.ftruncate(self._fd, size_mb << 20)

    @property
    def memory(self) -> MemoryFile:
        """For the spec of the VM: QEMU opens the file through this process's descriptor."""
        return MemoryFile(Path(f"/proc/{os.getpid()}/fd/{self._fd}"), share=True)

    def load(self, source: Path) -> None:
        """Fill it with a snapshot's RAM."""
        with source.open("rb", buffering=0) as file:
            _copy_sparse(file.fileno(), self._fd)

    def store(self, target: Path) -> None:
        """Write it to a new file, without the zeroes."""
        with target.open("xb", buffering=0) as file:
            os.fchmod(file.fileno(), 0o600)
            _copy_sparse(self._fd, file.fileno())

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _copy_sparse(source: int, target: int) -> None:
    """Copy a file's data; holes and zeroes become holes."""
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    zeroes = bytes(_GRAIN)
    at = 0
    while at < size:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
        except OSError:
            return  # nothing but a hole up to the end
        end = os.lseek(source, at, os.SEEK_HOLE)
        while at < end:
            data = os.pread(source, min(_CHUNK, end - at), at)
            for start in range(0, len(data), _GRAIN):
                piece = data[start : start + _GRAIN]
                if piece != zeroes[: len(piece)]:
                    _write_all(target, piece, at + start)
            at += len(data)


def _write_all(target: int, piece: bytes, at: int) -> None:
    """Write all of a piece; a disk that gets full accepts the first part without an error."""
    left = memoryview(piece)
    while left:
        written = os.pwrite(target, left, at)
        left, at = left[written:], at + written
