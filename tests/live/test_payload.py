"""Files for a guest: found by name, staged in one folder, refused when two of them would collide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import ConfigError, WrongBinary
from lab.live.payload import Payload, guest_path
from lab.toolchain.files import sha256_of
from lab.toolchain.select import DriverPackage


def package(
    folder: Path, name: str, *, file: str = "", encoding: str = "utf-8", clients: Mapping[str, Path] | None = None
) -> DriverPackage:
    image = folder / (file or f"{name}.sys")
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(name.encode())
    return DriverPackage(
        name=name,
        service=name.title(),
        image=image,
        sha256=sha256_of(image),
        arch="x64",
        load_order_group="",
        links=(),
        clients=clients or {},
        encoding=encoding,
    )


def test_a_path_in_the_guest() -> None:
    assert guest_path(Path("/somewhere/one.sys")) == "C:\\lab\\run\\one.sys"


def test_unknown_names_list_the_known_ones(tmp_path: Path) -> None:
    payload = Payload.of([package(tmp_path, "one", clients={"reader": tmp_path / "reader.exe"})])
    assert payload.driver("one").service == "One"
    assert payload.client_path("reader") == "C:\\lab\\run\\reader.exe"
    with pytest.raises(ConfigError, match=r"no driver 'two' in this run \(available: one\)"):
        payload.driver("two")
    with pytest.raises(ConfigError, match=r"no client 'writer' in this run \(available: reader\)"):
        payload.client_path("writer")


def test_staging_gathers_everything_in_one_folder(tmp_path: Path) -> None:
    client = tmp_path / "c" / "reader.exe"
    client.parent.mkdir()
    client.write_bytes(b"exe")
    packages = [package(tmp_path / "a", name, clients={"reader": client}) for name in ("one", "two")]
    staged = Payload.of(packages).stage(tmp_path / "stage")
    assert {file.name: file.read_bytes() for file in staged.iterdir()} == {
        "one.sys": b"one",
        "two.sys": b"two",
        "reader.exe": b"exe",
    }


def test_a_driver_that_changed_after_it_was_hashed_is_not_delivered(tmp_path: Path) -> None:
    packages = [package(tmp_path / "a", name) for name in ("one", "two")]
    (tmp_path / "a" / "two.sys").write_bytes(b"built anew")
    with pytest.raises(WrongBinary, match=r"two\.sys has SHA-256 \w+ now"):
        Payload.of(packages).stage(tmp_path / "stage")


def test_two_drivers_of_one_name_are_refused(tmp_path: Path) -> None:
    one = package(tmp_path / "a", "one")
    other = package(tmp_path / "b", "one")
    assert Payload.of([one, other]).drivers == {"one": one}, "copies of one file"
    with pytest.raises(ConfigError, match="both have the driver name one"):
        Payload.of([one, replace(other, sha256="0" * 64)])


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    packages = [package(tmp_path / "a", "one", file="x.sys"), package(tmp_path / "b", "two", file="X.SYS")]
    with pytest.raises(ConfigError, match="would overwrite each other"):
        Payload.of(packages).files()


def test_equal_copies_of_one_client_are_one_file(tmp_path: Path) -> None:
    """Each `resolve_drivers` makes copies of its own."""
    files = [tmp_path / place / name for place, name in (("a", "reader.exe"), ("b", "READER.EXE"), ("c", "reader.exe"))]
    for file, content in zip(files, (b"one", b"one", b"other"), strict=True):
        file.parent.mkdir()
        file.write_bytes(content)
    one, two, other = (
        package(tmp_path / "drivers", name, clients={client: file})
        for name, client, file in zip(("x", "y", "z"), ("reader", "again", "reader"), files, strict=True)
    )
    payload = Payload.of([one, two])
    assert sorted(file.name for file in payload.stage(tmp_path / "stage").iterdir()) == ["reader.exe", "x.sys", "y.sys"]
    with pytest.raises(ConfigError, match="would overwrite each other"):
        Payload.of([one, other])
    with pytest.raises(ConfigError, match="would overwrite each other"):
        Payload(drivers={"y": two}, clients={"again": files[1], "reader": files[2]}).files()


def test_the_print_encoding_is_the_drivers_when_they_agree(tmp_path: Path) -> None:
    gbk, other = package(tmp_path, "one", encoding="gbk"), package(tmp_path, "two")
    assert Payload.of([gbk]).encoding("utf-8") == "gbk"
    assert Payload.of([gbk, other]).encoding("cp1252") == "cp1252"
    assert Payload.of([]).encoding("utf-8") == "utf-8"


def test_the_print_encoding_of_a_tests_own_drivers(tmp_path: Path) -> None:
    payload = Payload.of([package(tmp_path, "one", encoding="gbk"), package(tmp_path, "two")])
    assert payload.encoding_of(["one"]) == "gbk"
    assert payload.encoding_of(["two"]) == "utf-8"
    assert payload.encoding_of(["one", "two"]) is payload.encoding_of([]) is payload.encoding_of(["none"]) is None
