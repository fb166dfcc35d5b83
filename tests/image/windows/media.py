"""Small Windows ISOs for the tests: a real UDF file system, and a hand-made WIM header with its XML."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pycdlib

SERVER = (
    "Windows Server 2022 Standard Evaluation",
    "Windows Server 2022 Standard Evaluation (Desktop Experience)",
    "Windows Server 2022 Datacenter Evaluation",
)


def wim_xml(names: Sequence[str]) -> bytes:
    images = "".join(
        f'<IMAGE INDEX="{number}"><WINDOWS><ARCH>9</ARCH><EDITIONID>Some</EDITIONID><VERSION><BUILD>20348</BUILD></VERSION>'
        f"</WINDOWS><NAME>{name}</NAME></IMAGE>"
        for number, name in enumerate(names, 1)
    )
    return b"\xff\xfe" + f"<WIM><TOTALBYTES>1</TOTALBYTES>{images}</WIM>".encode("utf-16-le")


def wim(xml: bytes, *, body: int = 5000, flags: int = 2) -> bytes:
    header = bytearray(208)
    header[:8] = b"MSWIM\0\0\0"
    struct.pack_into("<II", header, 8, 208, 0x10D00)
    struct.pack_into("<QQQ", header, 72, len(xml) | flags << 56, 208 + body, len(xml))
    return bytes(header) + b"\xa5" * body + xml


def write_iso(target: Path, files: dict[str, bytes], *, udf: bool = True) -> Path:
    iso: Any = pycdlib.PyCdlib()
    iso.new(interchange_level=4, joliet=None if udf else 3, udf="2.60" if udf else None, vol_ident="SSS_X64FREE")
    key = "udf_path" if udf else "joliet_path"
    for number, (name, data) in enumerate(files.items()):
        folder, _, _file = name.rpartition("/")
        if folder and number == 0:
            iso.add_directory("/" + folder.upper(), **{key: "/" + folder})
        iso.add_fp(io.BytesIO(data), len(data), "/" + name.upper(), **{key: "/" + name})
    iso.write(str(target))
    iso.close()
    return target


def write_tree(target: Path, files: dict[str, bytes]) -> Path:
    """An ISO with folders of any depth."""
    iso: Any = pycdlib.PyCdlib()
    iso.new(interchange_level=4, udf="2.60", vol_ident="TREE")
    made: set[str] = set()
    for name, data in files.items():
        parts = name.split("/")
        for end in range(1, len(parts)):
            folder = "/".join(parts[:end])
            if folder not in made:
                iso.add_directory("/" + folder.upper(), udf_path="/" + folder)
                made.add(folder)
        iso.add_fp(io.BytesIO(data), len(data), "/" + name.upper(), udf_path="/" + name)
    iso.write(str(target))
    iso.close()
    return target
