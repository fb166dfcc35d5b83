"""Rows of finished builds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lab.bisect.finished_builds import FinishedBuilds, row_of
from lab.bisect.workbench import NotBuilt
from lab.errors import ConfigError
from lab.live.chosen_drivers import ChosenDrivers
from lab.toolchain.package import read_packages

DRIVER = """#include <ntddk.h>
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    UNREFERENCED_PARAMETER(driver);
    UNREFERENCED_PARAMETER(path);
    return STATUS_SUCCESS;
}
"""


def labels(*paths: Path) -> list[str]:
    return [one.label for one in row_of(paths)]


def test_a_folder_is_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for name in ("ring-10.sys", "ring-9.SYS", "ring-1.9.sys", "notes.txt", ".ring-8.sys"):
        (tmp_path / name).touch()
    for name in ("nightly-2", "nightly-11", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "nightly-2" / "ring.sys").touch()
    (tmp_path / "nightly-11" / "driver.yaml").touch()
    assert labels(tmp_path) == ["nightly-2", "nightly-11", "ring-1.9.sys", "ring-9.SYS", "ring-10.sys"]


def test_builds_that_are_given_one_by_one_keep_their_order_and_get_names_apart(tmp_path: Path) -> None:
    files = [tmp_path / name / "out" / "ring.sys" for name in ("b", "a")]
    for file in files:
        file.parent.mkdir(parents=True)
        file.touch()
    row = row_of(files)
    assert [one.label for one in row] == ["b/out/ring.sys", "a/out/ring.sys"]
    assert [one.slug for one in row] == ["b-out-ring.sys", "a-out-ring.sys"]
    assert [one.id for one in row] == [str(file) for file in files]


def test_rows_that_cannot_be_searched(tmp_path: Path) -> None:
    (tmp_path / "one.sys").touch()
    with pytest.raises(ConfigError, match="there are 1 builds"):
        row_of([tmp_path])
    with pytest.raises(ConfigError, match="is there twice"):
        row_of([tmp_path / "one.sys", tmp_path / "one.sys"])
    with pytest.raises(ConfigError, match="there is no such file"):
        row_of([tmp_path / "two.sys"])


def test_a_build_takes_the_place_of_the_lab_files_driver(tmp_path: Path) -> None:
    folder = tmp_path / "project" / "driver"
    folder.mkdir(parents=True)
    (folder.parent / "lab.yaml").write_text("drivers: [driver]\n", encoding="utf-8")
    (folder / "ring.c").write_text(DRIVER, encoding="utf-8")
    manifest = "name: ring\nimage: ring.sys\nservice: Ring\nsources: [ring.c]\nregistry: {Parameters: {Level: 3}}\n"
    (folder / "driver.yaml").write_text(manifest, encoding="utf-8")
    chosen = ChosenDrivers(paths=(folder,), project=folder.parent)
    [built] = chosen.take("x64", into=tmp_path / "built")
    builds = tmp_path / "builds"
    builds.mkdir()
    shutil.copyfile(built.image, builds / "ring-7.sys")
    (builds / "ring-8.sys").write_bytes(b"no image")
    (builds / "ring-9").mkdir()
    shutil.copyfile(built.image, builds / "ring-9" / "ring.sys")
    seven, eight, nine = row_of([builds])
    take = FinishedBuilds(project=folder.parent, chosen=chosen, arch="x64").build
    one, two = take(seven, tmp_path / "one", ()), take(nine, tmp_path / "two", ())
    [package] = read_packages(one.folder) or ()
    assert (package.name, package.service, package.sha256) == ("ring", "Ring", built.sha256)
    assert package.registry is not None, "the manifest is that of the checkout"
    assert one.digest == two.digest
    with pytest.raises(NotBuilt, match="is not a Windows image"):
        take(eight, tmp_path / "three", ())
    shutil.rmtree(builds / "ring-9")
    with pytest.raises(NotBuilt, match="is not there any more"):
        take(nine, tmp_path / "four", ())
