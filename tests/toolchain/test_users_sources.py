"""Sources of users: written for Microsoft's compiler, saved by editors of Windows, and with mistakes in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.errors import ConfigError, HostToolError
from lab.toolchain.build import build_components
from lab.toolchain.compile import ARCHES, Arch
from lab.toolchain.diagnosis import explained
from lab.toolchain.sign import SigningKey
from tests.toolchain.components import tiny
from tests.toolchain.conftest import TINY_DRIVER
from tests.toolchain.kit_sources import AS_IN_THE_WDK

if TYPE_CHECKING:
    from tests.toolchain.conftest import DriverFolder
    from tests.toolchain.own_build import OwnBuilds


def test_a_warning_is_shown_and_fails_nothing(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder(source=TINY_DRIVER + "static int unused;\n")
    said: list[str] = []
    build_components([tiny(folder)], "x64", tmp_path / "out", None, progress=said.append)
    assert [line for line in said if "tiny: tiny.c:9:12: warning: ‘unused’ defined but not used" in line]


def test_a_mistake_in_the_source_is_the_users_and_leaves_nothing(
    driver_folder: DriverFolder, tmp_path: Path, key: SigningKey
) -> None:
    folder = driver_folder(source=TINY_DRIVER.replace("STATUS_SUCCESS", "STATUS_SUCESS"))
    with pytest.raises(ConfigError, match="does not compile") as caught:
        build_components([tiny(folder)], "x64", tmp_path / "out", key)
    assert (caught.value.file, caught.value.line) == (str(folder / "tiny.c"), 7)
    assert "tiny.c:7:12: error: ‘STATUS_SUCESS’ undeclared" in caught.value.message
    assert not (tmp_path / "out" / "tiny.sys").exists()
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_sources_that_are_compiled_at_once_are_reported_in_their_order(driver_folder: DriverFolder, tmp_path: Path) -> None:
    """The first source takes the compiler longest."""
    names = ("first.c", "second.c", "third.c")
    folder = driver_folder(sources=f"[tiny.c, {', '.join(names)}]")
    for name in names:
        (folder / name).write_text("static int unused;\n", encoding="utf-8")
    source = TINY_DRIVER + "static int unused;\n"
    (folder / "tiny.c").write_text(source, encoding="utf-8")
    said: list[str] = []
    build_components([tiny(folder)], "x64", tmp_path / "out", None, warn=said.append)
    assert [line.split(":")[1].strip() for line in said] == ["tiny.c", *names]

    (folder / "second.c").write_text("int second = NO_SUCH_NAME;\n", encoding="utf-8")
    (folder / "tiny.c").write_text(source.replace("STATUS_SUCCESS", "STATUS_SUCESS"), encoding="utf-8")
    with pytest.raises(ConfigError, match="does not compile") as caught:
        build_components([tiny(folder)], "x64", tmp_path / "out", None)
    assert caught.value.file == str(folder / "tiny.c")


@pytest.mark.parametrize(
    ("source", "said", "hint"),
    [
        (
            "int Entry(void);\nint Entry(void) { return 0; }\n",
            "cannot find entry symbol DriverEntry",
            "needs `DriverEntry(",
        ),
        (
            TINY_DRIVER.replace('DbgPrint("tiny")', "LabNoSuchRoutine()").replace(
                "\nNT", "\nULONG LabNoSuchRoutine(void);\nNT"
            ),
            "undefined reference to `LabNoSuchRoutine'",
            "LabNoSuchRoutine is neither in the sources nor",
        ),
        (TINY_DRIVER.replace('DbgPrint("tiny")', "LabUndeclared()"), "implicit declaration", "do not declare it"),
        (TINY_DRIVER.replace("STATUS_SUCCESS", "STATUS_SUCESS"), "undeclared", "include the header or define the macro"),
        (TINY_DRIVER.replace('"tiny"', '__FUNCTION__ ": tiny"'), "expected", "not a string literal"),
        ("#include <wdf.h>\n", "wdf.h: No such file", "no headers of KMDF"),
        ('#include "..\\\\inc\\\\common.h"\n', "No such file", "name its folder, `include:"),
        ('#include "tiny.tmh"\n', "tiny.tmh: No such file", "WPP"),
        (TINY_DRIVER.replace('"tiny"', '"tiny %I64d", -7i64'), "invalid suffix", "write LL for i64"),
        (TINY_DRIVER.replace('"tiny"', '"tiny %I64u", 0x7Fui64'), "invalid suffix", "ULL for ui64"),
    ],
)
def test_unsupported_features_are_reported_with_what_to_do(
    driver_folder: DriverFolder, tmp_path: Path, source: str, said: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=r"does not (compile|link)") as caught:
        build_components([tiny(driver_folder(source=source))], "x64", tmp_path / "out", None)
    assert said in caught.value.message
    assert hint in caught.value.hint


def test_for_x86_the_calling_convention_is_asked_for(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder(source=AS_IN_THE_WDK)
    with pytest.raises(ConfigError, match="conflicting types") as caught:
        build_components([tiny(folder)], "x86", tmp_path / "out", None)
    assert "NTAPI" in caught.value.hint


def test_for_x86_the_entry_points_convention_is_asked_for(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder(source=TINY_DRIVER.replace("NTAPI ", ""))
    with pytest.raises(ConfigError, match="resolving _DriverEntry@8 by linking to _DriverEntry") as caught:
        build_components([tiny(folder)], "x86", tmp_path / "out", None)
    assert "NTAPI" in caught.value.hint


def test_problems_of_the_host_are_not_mistakes_in_a_source() -> None:
    for code, output in (
        (None, ""),
        (-9, "drv.c:1:1: error: x"),
        (1, "drv.c:1:1: error: x\nNo space left on device"),
        (1, "?"),
    ):
        error = HostToolError(["gcc"], code, output)
        assert explained(error, Path("/src"), Path("/src/driver.yaml")) is error
    lacks = HostToolError(["gcc"], 1, "cc1: error: conversion from GBK to UTF-8 not supported by iconv")
    told = explained(lacks, Path("/src"), Path("/src/driver.yaml"))
    assert isinstance(told, HostToolError)
    assert "libc-gconv-modules-extra" in told.hint


@pytest.mark.parametrize("arch", ARCHES)
def test_the_labs_own_sources_have_no_warning(own: OwnBuilds, arch: Arch) -> None:
    built = (*own(arch).results, own(arch).flood)
    assert own(arch).said == tuple(f"{one.name}: building {one.path.name} for {arch}" for one in built)
