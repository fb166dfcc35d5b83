"""Debug directories: what makes a kernel announce a driver to its debugger, and what ties symbols to their image."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pefile
import pytest

from lab.errors import HostToolError
from lab.toolchain import flags as flags_module
from lab.toolchain.build import build_components
from lab.toolchain.codeview import CodeView, codeview
from lab.toolchain.compile import ARCHES, Arch, Compiler, compile_component
from lab.toolchain.manifest import load_component
from lab.toolchain.places import symbol_file
from lab.toolchain.sign import SigningKey, verify

if TYPE_CHECKING:
    from tests.toolchain.own_build import OwnBuilds


@pytest.mark.parametrize("arch", ARCHES)
def test_every_driver_has_a_debug_directory_also_when_it_is_signed(own: OwnBuilds, key: SigningKey, arch: Arch) -> None:
    """Without one, an NT-like kernel reports neither load nor unload of a driver to its debugger."""
    drivers = [result for result in own(arch).results if result.kind == "driver"]
    assert {"sync", "async", "relay", "selftest"} <= {result.name for result in drivers}
    for result in (*drivers, own(arch).flood):
        verify(result.path, key)
        record = codeview(result.path)
        assert record, result.name
        assert record.pdb == ""
        assert record.build_id.strip("0"), result.name
        assert codeview(symbol_file(result.path)) == record
        with pefile.PE(str(result.path)) as image:
            [entry] = image.DIRECTORY_ENTRY_DEBUG
            inside = image.get_section_by_rva(entry.struct.AddressOfRawData)
            # The kernel reads it from the loaded image, and unloads discardable sections after DriverEntry.
            assert inside.contains_rva(entry.struct.AddressOfRawData)
            assert not inside.Characteristics & 0x02000000
            assert not inside.Characteristics & 0xA0000000


def test_the_id_is_that_of_the_content(driver_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = driver_folder()
    component = load_component(folder / "driver.yaml")

    def build(place: str, *defines: str) -> CodeView:
        [result] = build_components([component], "x64", tmp_path / place, None, defines=defines)
        record = codeview(result.path)
        assert record
        return record

    first = build("one", "UNUSED=1")
    assert build("two/deeper", "UNUSED=2") == first
    source = folder / "tiny.c"
    source.write_text(source.read_text("utf-8").replace('"tiny"', '"tinz"'), "utf-8")
    assert build("one") != first


def test_a_linker_that_writes_none_fails_the_build(
    driver_folder: Callable[..., Path], tmp_path: Path, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    flavours = {**flags_module._LINK_FLAVOUR, "kernel": ("-nostdlib", "-Wl,--subsystem,native:5.2")}
    monkeypatch.setattr(flags_module, "_LINK_FLAVOUR", flavours)
    with pytest.raises(HostToolError, match="without a debug directory"):
        compile_component(load_component(driver_folder() / "driver.yaml"), compiler, tmp_path / "tiny.sys")


def test_the_name_of_a_pdb_is_found(link: Callable[..., Path], tmp_path: Path) -> None:
    image = link("-Wl,--build-id", f"-Wl,--pdb={tmp_path / 'name.pdb'}")
    record = codeview(image)
    assert record
    assert record.pdb == "name.pdb"


def test_a_file_without_a_record_has_none(link: Callable[..., Path], tmp_path: Path) -> None:
    assert codeview(link()) is None
    (tmp_path / "text.sys").write_text("no image")
    assert codeview(tmp_path / "text.sys") is None
    assert codeview(tmp_path / "nothing.sys") is None


@pytest.mark.parametrize(
    ("offset", "value"), [(12, 4), (16, 3), (24, 0xFFFFFF0)], ids=["another type", "too short", "outside of the file"]
)
def test_a_broken_directory_has_no_record(link: Callable[..., Path], offset: int, value: int) -> None:
    image = link("-Wl,--build-id")
    content = bytearray(image.read_bytes())
    with pefile.PE(data=bytes(content), fast_load=True) as parsed:
        where = parsed.OPTIONAL_HEADER.DATA_DIRECTORY[pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_DEBUG"]]
        start = parsed.get_offset_from_rva(where.VirtualAddress)
    struct.pack_into("<I", content, start + offset, value)
    image.write_bytes(content)
    assert codeview(image) is None
