"""Which files a driver is made of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lab.toolchain.reach import driver_files

if TYPE_CHECKING:
    from tests.toolchain.conftest import DriverFolder


def test_listed_files_and_needed_drivers_belong_to_a_driver(driver_folder: DriverFolder, tmp_path: Path) -> None:
    app = driver_folder("app", needs="[../bus]", files="[../data/curve.bin]")
    bus = driver_folder("bus", needs="[clock]")
    (bus / "clock.driver.yaml").write_text("name: clock\nimage: clock.sys\nsources: [clock.c]\n", encoding="utf-8")
    (bus / "clock.c").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "curve.bin").touch()
    files, *others = driver_files([app], arch="x64", project=tmp_path)
    assert files.name == "app"
    assert {other.name for other in others} == {"bus", "clock"}  # the project's own: a marker may name them
    for path in (app / "app.c", tmp_path / "data" / "curve.bin", bus / "bus.c", bus / "clock.c", bus / "clock.driver.yaml"):
        assert path.resolve() in files.files


def test_a_set_of_drivers_in_one_folder(driver_folder: DriverFolder, tmp_path: Path) -> None:
    folder = driver_folder("one")
    (folder / "driver.yaml").rename(folder / "one.driver.yaml")
    (folder / "two.driver.yaml").write_text("name: two\nimage: two.sys\nsources: [one.c]\n", encoding="utf-8")
    assert [files.name for files in driver_files([folder], arch="x64", project=tmp_path)] == ["one", "two"]


def test_a_finished_driver_is_its_file_wherever_it_lies(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").touch()
    folder = tmp_path / "meter"
    folder.mkdir()
    finished = tmp_path / "Release" / "boiler.sys"
    finished.parent.mkdir()
    finished.write_bytes(b"MZ")
    (folder / "driver.yaml").write_text("name: meter\nimage: ../Release/boiler.sys\nservice: Meter\n", encoding="utf-8")
    [files] = driver_files([folder], arch="x64", project=tmp_path)
    assert files.name == "meter"
    assert finished.resolve() in files.files
    # By its file, it is the same driver, whose tests a round selects by that name.
    by_file = driver_files([finished], arch="x64", project=tmp_path)
    assert {one.name for one in by_file if finished.resolve() in one.files} == {"meter"}
