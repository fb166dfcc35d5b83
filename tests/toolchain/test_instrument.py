"""Drivers that count their lines: how they are built, and what is kept of the build."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from lab.errors import ConfigError
from lab.toolchain import pe
from lab.toolchain.build import build_components
from lab.toolchain.compile import ARCHES, Arch
from lab.toolchain.instrument import COLLECTOR, note_of, read_notes
from lab.toolchain.known import lab_components
from lab.toolchain.manifest import load_component
from lab.toolchain.select import resolve_drivers
from lab.toolchain.sign import SigningKey
from tests.toolchain.components import tiny
from tests.toolchain.conftest import TINY_DRIVER, DriverFolder


@pytest.mark.parametrize("arch", ARCHES)
def test_a_measured_driver_needs_the_kernel_alone_and_has_its_notes(
    driver_folder: DriverFolder, tmp_path: Path, arch: Arch
) -> None:
    folder = driver_folder()

    (built,) = build_components([tiny(folder)], arch, tmp_path / "out", None, measured=True)

    assert set(pe.inspect(built.path).imports) == {"ntoskrnl.exe"}
    assert built.notes is not None
    notes = read_notes(built.notes)
    assert (notes.driver, notes.folder, list(notes.files)) == ("tiny", folder, ["0.gcno"])
    assert [Path(file).name for file in notes.sources] == ["tiny.c"]


def test_the_same_sources_in_another_folder_make_the_same_measured_driver(driver_folder: DriverFolder, tmp_path: Path) -> None:
    here, there = driver_folder(), tmp_path / "another" / "place"
    shutil.copytree(here, there)

    one, two = (
        build_components([tiny(folder)], "x64", tmp_path / f"out{number}", None, measured=True)
        for number, folder in enumerate((here, there))
    )

    assert one[0].sha256 == two[0].sha256


def test_plain_and_measured_builds_stay_apart(driver_folder: DriverFolder, tmp_path: Path) -> None:
    component, out = tiny(driver_folder()), tmp_path / "out"

    (plain,) = build_components([component], "x64", out, None)
    (counted,) = build_components([component], "x64", out, None, measured=True)
    (again,) = build_components([component], "x64", out, None, measured=True)

    assert plain.notes is None
    assert plain.sha256 != counted.sha256
    assert not again.rebuilt


def test_a_run_with_coverage_has_the_collector(tmp_path: Path, key: SigningKey, driver_folder: DriverFolder) -> None:
    project = driver_folder()

    packages = {
        package.name: package
        for package in resolve_drivers([project], project=project, into=tmp_path / "run", key=key, measured=True)
    }

    assert packages["tiny"].notes == tmp_path / "run" / "tiny" / "tiny.notes.zip"
    assert not packages["tiny"].collects
    assert packages[COLLECTOR].collects
    assert packages[COLLECTOR].notes is None
    assert "drvprobe" in packages[COLLECTOR].clients
    assert (project / "build" / "x64" / "coverage" / "tiny.sys").is_file()


def test_what_is_not_under_test_is_not_measured(tmp_path: Path) -> None:
    (built,) = build_components([lab_components()[COLLECTOR]], "x64", tmp_path, None, measured=True)

    assert built.notes is None


def test_clangs_drivers_are_not_measured(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder()
    manifest = folder / "driver.yaml"
    manifest.write_text(manifest.read_text(encoding="utf-8") + "compiler: clang\n", encoding="utf-8")

    (built,) = build_components([load_component(manifest)], "x64", tmp_path / "out", None, measured=True)

    assert built.notes is None


def test_a_driver_that_links_only_when_it_is_optimized_gets_an_error_that_names_the_cause(
    driver_folder: DriverFolder, tmp_path: Path
) -> None:
    add = "inline int add(int one, int two)\n{\n    return one + two;\n}\n"
    source = TINY_DRIVER.replace("#include <ntddk.h>\n", f"#include <ntddk.h>\n{add}volatile int seven = 7;\n")
    source += "int more(void);\nint more(void)\n{\n    return add(seven, 1);\n}\n"
    component = tiny(driver_folder(source=source))

    build_components([component], "x64", tmp_path / "out", None)
    with pytest.raises(ConfigError, match="undefined reference") as refused:
        build_components([component], "x64", tmp_path / "counted", None, measured=True)

    assert "make add `static inline`" in refused.value.hint


@pytest.mark.parametrize(
    ("counters", "note"),
    [("./lab#0.c.gcda", "0.gcno"), ("./#home#me#lab#12.c.gcda", "12.gcno"), (".\\lab#3.c.gcda", "3.gcno")],
)
def test_counters_name_their_notes(counters: str, note: str) -> None:
    assert note_of(counters) == note


def test_equal_builds_have_equal_notes(driver_folder: DriverFolder, tmp_path: Path) -> None:
    component = tiny(driver_folder())
    files = []
    for name in ("one", "two"):
        (built,) = build_components([component], "x64", tmp_path / name, None, measured=True)
        assert built.notes is not None
        with zipfile.ZipFile(built.notes) as packed:
            files.append({entry: packed.read(entry) for entry in packed.namelist()})

    assert files[0] == files[1]
