"""The digest of a driver without what says when it was built."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pefile
import pytest

from lab.errors import ConfigError
from lab.toolchain.content import drivers_digest, image_digest
from lab.toolchain.package import DriverPackage, PlacedFile
from lab.toolchain.sign import SigningKey, sign


def built_another_day(image: bytes) -> bytes:
    """The same driver, as Microsoft's linker would write it on another day: other stamps, another GUID of its PDB."""
    parsed = pefile.PE(data=image)
    changed = bytearray(image)
    [debug] = parsed.DIRECTORY_ENTRY_DEBUG
    record = debug.struct.PointerToRawData
    assert image[record : record + 4] == b"RSDS"
    for at, new in (
        (parsed.FILE_HEADER.get_field_absolute_offset("TimeDateStamp"), b"\x11\x22\x33\x44"),
        (debug.struct.get_field_absolute_offset("TimeDateStamp"), b"\x11\x22\x33\x44"),
        (parsed.OPTIONAL_HEADER.get_field_absolute_offset("CheckSum"), b"\x55\x66\x77\x00"),
        (record + 4, bytes(range(20))),
    ):
        changed[at : at + len(new)] = new
    return bytes(changed)


def test_stamps_ids_and_signatures_do_not_count(tiny_image: bytes, unsigned: Path, key: SigningKey, tmp_path: Path) -> None:
    later, signed = tmp_path / "later.sys", tmp_path / "signed.sys"
    later.write_bytes(built_another_day(tiny_image))
    assert later.read_bytes() != tiny_image
    sign(unsigned, signed, "tiny", key)
    assert image_digest(later) == image_digest(unsigned) == image_digest(signed)


def test_code_data_and_the_name_of_the_pdb_count(tiny_image: bytes, unsigned: Path, tmp_path: Path) -> None:
    at = tiny_image.index(b"tiny\0")
    parsed = pefile.PE(data=tiny_image)
    code = next(section for section in parsed.sections if section.Name.startswith(b".text"))
    [debug] = parsed.DIRECTORY_ENTRY_DEBUG
    for number, place in enumerate((at, code.PointerToRawData, debug.struct.PointerToRawData + 24, len(tiny_image) - 1)):
        other = tmp_path / f"{number}.sys"
        other.write_bytes(tiny_image[:place] + bytes([tiny_image[place] ^ 1]) + tiny_image[place + 1 :])
        assert image_digest(other) != image_digest(unsigned), place


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.sys").write_bytes(b"no image")
    with pytest.raises(ConfigError):
        image_digest(tmp_path / "no.sys")


def test_everything_that_a_guest_gets_of_a_driver_counts(unsigned: Path, tmp_path: Path) -> None:
    registry, other = tmp_path / "one.reg", tmp_path / "two.reg"
    registry.write_text("one", encoding="ascii")
    other.write_text("two", encoding="ascii")
    file = PlacedFile(path=tmp_path / "table.bin", sha256="a" * 64)
    package = DriverPackage(
        name="tiny",
        service="Tiny",
        image=unsigned,
        sha256="0" * 64,
        arch="x64",
        load_order_group="",
        links=("\\\\.\\Tiny",),
        clients={},
        encoding="utf-8",
        registry=registry,
        files=(file,),
    )
    same = drivers_digest([package])
    assert drivers_digest([replace(package, sha256="1" * 64, clients={"tool": other})]) == same
    changed = [
        replace(package, name="tinier"),
        replace(package, service="Tinier"),
        replace(package, registry=other),
        replace(package, registry=None),
        replace(package, files=(replace(file, sha256="b" * 64),)),
        replace(package, files=(replace(file, to="C:\\table.bin"),)),
        replace(package, needs=("other",)),
    ]
    digests = {drivers_digest([one]) for one in changed}
    assert same not in digests
    assert len(digests) == len(changed)
    assert drivers_digest([package, changed[0]]) == drivers_digest([changed[0], package])
