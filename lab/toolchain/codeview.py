"""The CodeView record of an image: the id that shows whether symbols and an image belong together.

A kernel announces to its debugger only images with a debug directory (seen on an i386 NT-like kernel: drivers without one are
loaded and unloaded in silence). The linker of mingw-w64 writes one, with such a record in it, when it is asked for a build id.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from pathlib import Path

import pefile

from lab.errors import ConfigError
from lab.toolchain.peimage import opened, printable

_TYPE_CODEVIEW = 2
_SIGNATURE = b"RSDS"
_ID_AT, _ID_SIZE, _NAME_AT = 4, 16, 24


@dataclass(frozen=True, slots=True)
class CodeView:
    """The content of a CodeView record of the kind RSDS.

    Attributes:
        build_id: Its GUID as debuggers and objdump show it, 32 lower-case hexadecimal digits: the value of ld's
            ``--build-id=0x``. The first three fields lie in the file with their bytes turned round.
        pdb: Name of the PDB that was written with the image; empty where there is none: mingw's linker writes none here.
    """

    build_id: str
    pdb: str


def codeview(path: Path) -> CodeView | None:
    """The CodeView record of an image; None when it has none, or when the file is not an image or cannot be read."""
    try:
        with opened(path) as (pages, image):
            image.parse_data_directories([pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_DEBUG"]])
            for entry in getattr(image, "DIRECTORY_ENTRY_DEBUG", []):
                where = entry.struct
                if where.Type != _TYPE_CODEVIEW:
                    continue
                record = pages.read(where.PointerToRawData, where.SizeOfData)
                if record[:_ID_AT] == _SIGNATURE and len(record) > _NAME_AT:
                    name = printable(record[_NAME_AT:].split(b"\0")[0].decode("utf-8", "backslashreplace"))
                    return CodeView(uuid.UUID(bytes_le=record[_ID_AT : _ID_AT + _ID_SIZE]).hex, name)
    except ConfigError:
        return None
    except Exception as error:
        # Damage shows in pefile as errors of many kinds.
        logging.getLogger(__name__).debug("%s: its debug directory cannot be read: %r", path, error)
        return None
    return None
