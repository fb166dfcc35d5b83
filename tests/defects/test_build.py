"""The changed copy of a driver's folder, and the list of the drivers of a run with a defect."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.defects.build import build_defects, with_defect
from lab.defects.catalogue import read_catalogue
from lab.defects.source import write_changed
from lab.errors import ConfigError
from lab.toolchain.build import BuildResult
from lab.toolchain.package import DriverPackage
from lab.toolchain.sign import signing_key
from tests.defects.test_catalogue import ONE, small
from tests.defects.trials import planted

SOURCE = "int a; int f(void) { return a + 1; }\n"


def package(folder: Path, name: str) -> DriverPackage:
    image = folder / f"{name}.sys"
    image.write_bytes(name.encode())
    return DriverPackage(
        name=name,
        service=name,
        image=image,
        sha256="0" * 64,
        arch="x64",
        load_order_group="",
        links=(),
        clients={},
        encoding="utf-8",
    )


def test_the_copy_has_all_files_and_only_the_source_differs(tmp_path: Path) -> None:
    [off] = read_catalogue(small(tmp_path, ONE, source=SOURCE))
    (off.folder / "driver.yaml").write_text("name: ring\n", encoding="utf-8")
    copy = write_changed(off, tmp_path / "copy")
    assert (copy / "ring.c").read_text(encoding="utf-8") == SOURCE.replace("a + 1", "a + 2")
    assert (copy / "driver.yaml").read_bytes() == b"name: ring\n"
    assert (off.folder / "ring.c").read_text(encoding="utf-8") == SOURCE


def test_what_is_the_same_is_not_written_again_and_old_files_go(tmp_path: Path) -> None:
    [off] = read_catalogue(small(tmp_path, ONE, source=SOURCE))
    copy = write_changed(off, tmp_path / "copy")
    (copy / "gone.h").write_text("", encoding="utf-8")
    before = (copy / "ring.c").stat().st_mtime_ns
    write_changed(off, copy)
    assert (copy / "ring.c").stat().st_mtime_ns == before
    assert not (copy / "gone.h").exists()


def test_only_the_driver_of_the_defect_is_replaced(tmp_path: Path) -> None:
    base = (package(tmp_path, "other"), package(tmp_path, "ring"))
    (tmp_path / "built").mkdir()
    built = tmp_path / "built" / "ring.sys"
    built.write_bytes(b"with a defect")
    result = BuildResult(name="ring", kind="driver", path=built, sha256="", signed=True, rebuilt=True)
    other, ring = with_defect(base, planted(), result, into=tmp_path / "run")
    assert other == base[0]
    assert ring.image == tmp_path / "run" / "ring" / "ring.sys"
    assert ring.image.read_bytes() == b"with a defect"
    assert ring.sha256 != base[1].sha256
    assert ring.origin == built


def test_a_defect_that_does_not_fit_is_found_before_anything_is_built(tmp_path: Path) -> None:
    [off] = read_catalogue(small(tmp_path, ONE, source="int b;\n"))
    done: list[str] = []
    with pytest.raises(ConfigError, match="ring-off does not fit"):
        build_defects([off], arch="x64", folder=tmp_path / "builds", key=signing_key(), done=done.append)
    assert not done
