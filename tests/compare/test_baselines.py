"""Baselines: what is kept, found again, replaced, and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab.compare.baselines import Baselines
from lab.compare.kept_drivers import with_clients_of
from lab.compare.key import key_of
from lab.errors import ConfigError
from lab.report.runfiles import write_run
from lab.toolchain.package import DriverPackage, read_packages, write_packages
from tests.compare.recording import entry, recorded

NOW = "2026-09-21T14:13:20+00:00"


def run_of(folder: Path, *, image: bytes = b"MZ ring", drivers: bool = True, **changed: Any) -> Path:
    """A run with one test and one driver, which has a client and a registry file."""
    folder.mkdir(parents=True)
    write_run(folder, recorded([entry("a")], **changed).report)
    copies = folder / "drivers"
    if drivers:
        (copies / "ring").mkdir(parents=True)
        (copies / "clients").mkdir()
        (copies / "ring" / "ring.sys").write_bytes(image)
        (copies / "ring" / "ring.reg").write_bytes(b"REGEDIT4")
        (copies / "clients" / "reader.exe").write_bytes(b"MZ reader")
        package = DriverPackage(
            name="ring",
            service="Ring",
            image=copies / "ring" / "ring.sys",
            sha256="a" * 64,
            arch="x64",
            load_order_group="",
            links=(),
            clients={"reader": copies / "clients" / "reader.exe"},
            encoding="utf-8",
            registry=copies / "ring" / "ring.reg",
            origin=Path("/home/me/ring/build/ring.sys"),
        )
        write_packages(copies, (package,))
    return folder


def test_a_run_is_kept_with_its_drivers_and_comes_back_elsewhere(tmp_path: Path) -> None:
    baselines = Baselines(tmp_path / "base")
    saved = baselines.save("main", run_of(tmp_path / "run"), now=NOW)
    assert saved.read().report.tests[0].nodeid == "suites/test_ring.py::a"
    assert saved.read().label == "baseline main"
    assert saved.record.saved == NOW
    baselines.restore(saved, tmp_path / "again" / "drivers")
    packages = read_packages(tmp_path / "again" / "drivers")
    assert packages is not None
    [package] = packages
    assert package.image == tmp_path / "again" / "drivers" / "ring" / "ring.sys"
    assert package.image.read_bytes() == b"MZ ring"
    assert package.clients["reader"].read_bytes() == b"MZ reader"
    assert package.registry == tmp_path / "again" / "drivers" / "ring" / "ring.reg"
    assert package.origin == Path("/home/me/ring/build/ring.sys")


def test_the_drivers_of_a_baseline_run_with_the_clients_of_the_new_tests(tmp_path: Path) -> None:
    baselines = Baselines(tmp_path / "base")
    baselines.restore(baselines.save("main", run_of(tmp_path / "old", image=b"MZ old"), now=NOW), tmp_path / "again")
    new = run_of(tmp_path / "new", image=b"MZ new") / "drivers"
    with_clients_of(tmp_path / "again", new)
    packages = read_packages(tmp_path / "again")
    assert packages is not None
    assert packages[0].image.read_bytes() == b"MZ old"
    assert packages[0].clients == {"reader": new / "clients" / "reader.exe"}


def test_a_run_that_was_moved_is_kept_as_well(tmp_path: Path) -> None:
    run_of(tmp_path / "run").rename(tmp_path / "moved")
    baselines = Baselines(tmp_path / "base")
    baselines.restore(baselines.save("main", tmp_path / "moved" / "run.json", now=NOW), tmp_path / "drivers")
    packages = read_packages(tmp_path / "drivers")
    assert packages is not None
    assert packages[0].image == tmp_path / "drivers" / "ring" / "ring.sys"


def test_a_baseline_that_was_moved_is_found(tmp_path: Path) -> None:
    Baselines(tmp_path / "base").save("main", run_of(tmp_path / "run"), now=NOW)
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    moved = Baselines(tmp_path / "elsewhere")
    [baseline] = moved.named("main")
    moved.restore(baseline, tmp_path / "drivers")
    assert (tmp_path / "drivers" / "ring" / "ring.sys").read_bytes() == b"MZ ring"


def test_files_of_several_baselines_are_kept_once(tmp_path: Path) -> None:
    baselines = Baselines(tmp_path / "base")
    baselines.save("one", run_of(tmp_path / "run"), now=NOW)
    count = len(list((tmp_path / "base" / ".files").rglob("*")))
    baselines.save("two", run_of(tmp_path / "other"), now=NOW)
    assert len(list((tmp_path / "base" / ".files").rglob("*"))) == count
    assert [baseline.record.name for baseline in baselines.all()] == ["one", "two"]


def test_nothing_is_replaced_unasked_and_a_replaced_one_leaves_no_file(tmp_path: Path) -> None:
    baselines = Baselines(tmp_path / "base")
    first = baselines.save("main", run_of(tmp_path / "run"), now=NOW)
    with pytest.raises(ConfigError, match="there is a baseline main"):
        baselines.save("main", run_of(tmp_path / "new", image=b"MZ new"), now=NOW)
    second = baselines.save("main", tmp_path / "new", now=NOW, replace=True)
    assert second.folder == first.folder
    kept = {path.name for path in (tmp_path / "base" / ".files").rglob("*") if path.is_file()}
    assert kept == {file.sha256 for file in second.record.files}


def test_the_nearest_key_is_taken(tmp_path: Path) -> None:
    baselines = Baselines(tmp_path / "base")
    emulated = run_of(tmp_path / "tcg")
    baselines.save("main", emulated, now=NOW)
    baselines.save("main", run_of(tmp_path / "kvm", accelerator="kvm"), now=NOW)
    assert len(baselines.named("main")) == 2
    for accelerator in ("tcg", "kvm"):
        key = key_of(recorded([], accelerator=accelerator).report)
        assert baselines.nearest("main", key).record.key == key
    newer = key.model_copy(update={"image_key": "another"})
    assert baselines.nearest("main", newer).record.key == key
    other = key.model_copy(update={"image": "windows-server-2022", "accelerator": "tcg"})
    assert baselines.nearest("main", other).record.key.accelerator == "tcg"


@pytest.mark.parametrize("name", ["", "../x", ".files", "a/b", "-x", "ä"])
def test_a_name_is_a_word(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="a baseline cannot have the name"):
        Baselines(tmp_path / "base").save(name, run_of(tmp_path / "run"), now=NOW)


def test_a_run_without_tests_is_no_baseline(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    write_run(run, recorded([]).report)
    with pytest.raises(ConfigError, match="has no test"):
        Baselines(tmp_path / "base").save("main", run, now=NOW)


def test_a_name_that_is_not_there_says_which_are(tmp_path: Path) -> None:
    baselines = Baselines(tmp_path / "base")
    with pytest.raises(ConfigError, match="`lab baseline save main` keeps the last run"):
        baselines.named("main")
    baselines.save("release", run_of(tmp_path / "run"), now=NOW)
    with pytest.raises(ConfigError, match="there are release"):
        baselines.named("main")


def test_drivers_that_were_not_kept_cannot_be_restored(tmp_path: Path) -> None:
    baselines = Baselines(tmp_path / "base")
    saved = baselines.save("main", run_of(tmp_path / "run", drivers=False), now=NOW)
    with pytest.raises(ConfigError, match="has no drivers"):
        baselines.restore(saved, tmp_path / "drivers")


def test_a_damaged_or_missing_file_is_found_out(tmp_path: Path) -> None:
    baselines = Baselines(tmp_path / "base")
    saved = baselines.save("main", run_of(tmp_path / "run"), now=NOW)
    [file] = [file for file in saved.record.files if file.path == "ring/ring.sys"]
    kept = tmp_path / "base" / ".files" / file.sha256[:2] / file.sha256
    kept.write_bytes(b"MZ ring\r\n")
    with pytest.raises(ConfigError, match="is damaged"):
        baselines.restore(saved, tmp_path / "drivers")
    kept.unlink()
    with pytest.raises(ConfigError, match="is missing"):
        baselines.restore(saved, tmp_path / "drivers")


def test_a_foreign_record_is_named(tmp_path: Path) -> None:
    baselines = Baselines(tmp_path / "base")
    saved = baselines.save("main", run_of(tmp_path / "run"), now=NOW)
    (saved.folder / "baseline.json").write_text(json.dumps({"name": "x"}), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        baselines.named("main")
    assert str(saved.folder / "baseline.json") in str(caught.value)
