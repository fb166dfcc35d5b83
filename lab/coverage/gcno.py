"""The folder in which the compiler ran, in its notes (``.gcno``) of GCC 12 and later.

After a header of four words (``gcno``, version, stamp, checksum) comes the folder: a length in bytes, the text and a zero byte.
Words have 32 bits, the low byte first. (gcc/gcov-io.h, coverage_init.)
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from lab.errors import LabError

_HEAD = struct.Struct("<4s12sI")
_MAGIC = b"oncg"  # "gcno" as a little-endian word


def compiled_in(note: bytes, folder: Path) -> bytes:
    """Notes that name another folder as the one in which the compiler ran.

    gcov 14 writes JSON that gcovr reads, and gcovr joins the names of sources to this folder. (With older ones gcovr reads
    gcov's text, and joins them to the folder in which gcov runs. Seen with gcovr 8.8, GCC 12.2 and 14.2.)

    Args:
        note: The file.
        folder: The other folder.

    Raises:
        LabError: It is no such file.
    """
    if len(note) < _HEAD.size or not note.startswith(_MAGIC):
        raise LabError(
            f"the compiler's notes of a source cannot be read: they begin with {note[:4]!r}",
            hint="build the driver again with GCC 12 or later: delete the folder `coverage` in its folder of builds",
        )
    _, versions, length = _HEAD.unpack_from(note)
    name = os.fsencode(folder) + b"\0"
    return _HEAD.pack(_MAGIC, versions, len(name)) + name + note[_HEAD.size + length :]
