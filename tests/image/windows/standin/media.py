"""The stand-in installer's CD, made in a moment: see standin.s."""

from __future__ import annotations

import io
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

import pycdlib

from lab.host.process import run
from tests.image.windows.media import wim, wim_xml

_SOURCE = Path(__file__).with_name("standin.s")
_SECONDS = 60.0
_MODE_OFFSET = 506
_SECTORS = 4


class Mode(IntEnum):
    """How the stand-in behaves."""

    GOOD = 0
    HANG = 1  # in the first phase after the first restart
    LOOP = 2  # restarts for ever
    FAIL = 3  # reports a failed stage, then powers off
    NO_MARK = 4  # powers off without saying that it is done
    NO_WRITE = 5  # never writes to the disk


def assemble(folder: Path) -> bytes:
    """The stand-in's machine code, with the mode byte 0."""
    object_file, binary = folder / "standin.o", folder / "standin.bin"
    run(["i686-w64-mingw32-as", _SOURCE, "-o", object_file], _SECONDS)
    run(["i686-w64-mingw32-objcopy", "-O", "binary", "-j", ".text", object_file, binary], _SECONDS)
    code = binary.read_bytes()
    assert len(code) == _SECTORS * 512
    assert code[510:512] == b"\x55\xaa"
    return code


def make_cd(code: bytes, mode: Mode, target: Path) -> Path:
    """A CD that boots the stand-in in one of its modes."""
    image = code[:_MODE_OFFSET] + bytes([mode]) + code[_MODE_OFFSET + 1 :]
    return _write(target, image)


def make_windows_cd(code: bytes, mode: Mode, target: Path, editions: Sequence[str]) -> Path:
    """A CD that boots the stand-in, and looks like Windows' own: UDF, with an install.wim of these editions."""
    image = code[:_MODE_OFFSET] + bytes([mode]) + code[_MODE_OFFSET + 1 :]
    iso: Any = pycdlib.PyCdlib()
    iso.new(interchange_level=3, udf="2.60", vol_ident="STANDIN")
    iso.add_directory("/SOURCES", udf_path="/sources")
    data = wim(wim_xml(editions))
    iso.add_fp(io.BytesIO(data), len(data), "/SOURCES/INSTALL.WIM;1", udf_path="/sources/install.wim")
    iso.add_fp(io.BytesIO(image), len(image), "/BOOT.BIN;1", udf_path="/boot.bin")
    iso.add_eltorito("/BOOT.BIN;1", bootcatfile="/BOOT.CAT;1", boot_load_size=_SECTORS)
    iso.write(str(target))
    iso.close()
    return target


def make_payload(target: Path) -> Path:
    """The second CD; the stand-in does not look at it."""
    return _write(target, None)


def _write(target: Path, boot: bytes | None) -> Path:
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, vol_ident="STANDIN" if boot else "LABCFG")
    data = boot or b"nothing\r\n"
    iso.add_fp(io.BytesIO(data), len(data), "/BOOT.BIN;1" if boot else "/README.TXT;1")
    if boot:
        iso.add_eltorito("/BOOT.BIN;1", bootcatfile="/BOOT.CAT;1", boot_load_size=_SECTORS)
    iso.write(str(target))
    iso.close()
    return target
