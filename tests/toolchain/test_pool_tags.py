"""The pool tags of a driver's code."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.toolchain.compile import Arch, compile_component, find_compiler
from lab.toolchain.manifest import load_component
from lab.toolchain.pool_tags import pool_tags

_ALLOCATES = """
#include <ntddk.h>

static PVOID kept[2];

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    (void)driver;
    (void)path;
    kept[0] = ExAllocatePoolWithTag(NonPagedPool, 100, 'neeT');
    kept[1] = ExAllocatePoolWithTag(PagedPool, 200, ' 2gT');
    return kept[0] && kept[1] ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
"""


@pytest.mark.parametrize("arch", ["x64", "x86"])
def test_tags_of_a_compiled_driver(tmp_path: Path, arch: Arch) -> None:
    (tmp_path / "teen.c").write_text(_ALLOCATES, encoding="utf-8")
    (tmp_path / "driver.yaml").write_text("name: teen\nimage: teen.sys\nsources: [teen.c]\n", encoding="utf-8")
    image = tmp_path / "teen.sys"
    compile_component(load_component(tmp_path / "driver.yaml"), find_compiler(arch), image)
    assert pool_tags(image) == ("Teen", "Tg2 ")


def test_a_driver_that_allocates_nothing_has_none(unsigned: Path) -> None:
    assert pool_tags(unsigned) == ()


def test_what_is_no_image_has_none(tmp_path: Path) -> None:
    (tmp_path / "text.sys").write_text("ExAllocatePoolWithTag", encoding="utf-8")
    assert pool_tags(tmp_path / "text.sys") == ()
    assert pool_tags(tmp_path / "absent.sys") == ()
