"""Addresses of faults, as lines of a driver's source."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from lab.host.process import run
from lab.toolchain.address import locate
from lab.toolchain.build import build_components
from lab.toolchain.codeview import codeview
from lab.toolchain.compile import ARCHES, Arch
from lab.toolchain.known import known_components
from lab.toolchain.places import symbol_file
from lab.toolchain.select import DriverPackage


@pytest.fixture(scope="module", params=ARCHES)
def sync(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DriverPackage:
    """The sync driver with its symbols."""
    arch: Arch = request.param
    out = tmp_path_factory.mktemp(arch)
    [built] = build_components([known_components()["sync"]], arch, out, None)
    return DriverPackage(
        name="sync",
        service="s",
        image=built.path,
        sha256=built.sha256,
        arch=arch,
        load_order_group="",
        links=(),
        clients={},
        encoding="utf-8",
        symbols=(symbol_file(built.path),),
    )


@pytest.fixture
def dispatch_read(sync: DriverPackage) -> int:
    """Offset of the read routine in the image."""
    triplet = {"x64": "x86_64", "x86": "i686"}[sync.arch]
    names = run([f"{triplet}-w64-mingw32-nm", str(sync.symbols[0])], 60).stdout.splitlines()
    return int(next(line for line in names if "DispatchRead" in line).split()[0], 16) & 0xFFFF


def test_an_address_becomes_function_file_and_line(sync: DriverPackage, dispatch_read: int) -> None:
    said = locate(sync, 0x7FFFFF310000 + dispatch_read)
    assert said.startswith(f"sync.sys+0x{dispatch_read:x} (")
    assert "DispatchRead" in said
    assert ", sync.c:" in said
    assert "/" not in said


def test_without_symbols_the_offset_is_given(sync: DriverPackage, dispatch_read: int) -> None:
    assert locate(replace(sync, symbols=()), 0x50000 + dispatch_read) == f"sync.sys+0x{dispatch_read:x}"


@pytest.mark.parametrize("offset", [0, 0x800, 0xFFFF])
def test_an_address_outside_of_the_code_has_no_place(sync: DriverPackage, offset: int) -> None:
    assert locate(sync, 0x7FFFFF310000 + offset) == ""


def test_a_file_that_is_not_an_image_has_no_place(sync: DriverPackage, tmp_path: Path) -> None:
    (tmp_path / "x.sys").write_bytes(b"MZ")
    assert locate(replace(sync, image=tmp_path / "x.sys"), 0x1000) == ""
    assert locate(replace(sync, image=tmp_path / "none.sys"), 0x1000) == ""


def test_symbols_of_another_build_give_no_line(
    sync: DriverPackage, dispatch_read: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They were used, and the report named a line that the driver under test does not have there."""
    content = bytearray(sync.symbols[0].read_bytes())
    record = codeview(sync.symbols[0])
    assert record
    content[content.index(uuid.UUID(record.build_id).bytes_le)] ^= 1
    stale = tmp_path / "sync.dbg"
    stale.write_bytes(content)
    address = 0x50000 + dispatch_read
    assert locate(replace(sync, symbols=(stale,)), address) == f"sync.sys+0x{dispatch_read:x}"
    assert "these symbols belong to another build" in caplog.text
    # Those that fit are taken, wherever they stand in the list.
    assert "DispatchRead" in locate(replace(sync, symbols=(stale, *sync.symbols)), address)


def test_a_driver_that_was_not_stripped_gives_its_own_lines(sync: DriverPackage, dispatch_read: int) -> None:
    """As with other compilers; inlined code is given with the function around it."""
    said = locate(replace(sync, image=sync.symbols[0], symbols=()), 0x7FFFFF310000 + dispatch_read)
    assert "DispatchRead, sync.c:" in said
    assert said.endswith(")")
