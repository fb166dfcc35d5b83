"""What goes into a guest: found by name, staged in one folder, refused when two files would collide."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import ConfigError
from lab.pool.components import make_payload
from lab.pool.payload import DriverPackage, Payload


def package(folder: Path, name: str, *, file: str = "", encoding: str = "utf-8") -> DriverPackage:
    image = folder / (file or f"{name}.sys")
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(name.encode())
    return DriverPackage(name=name, service=name.title(), image=image, encoding=encoding)


def test_paths_in_the_guest_and_hashes(tmp_path: Path) -> None:
    one = package(tmp_path, "one")
    assert one.guest_path == "C:\\lab\\run\\one.sys"
    assert one.sha256 == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"


def test_unknown_names_say_what_there_is(tmp_path: Path) -> None:
    payload = Payload(drivers={"one": package(tmp_path, "one")}, clients={"reader": tmp_path / "reader.exe"})
    assert payload.driver("one").service == "One"
    assert payload.client_path("reader") == "C:\\lab\\run\\reader.exe"
    with pytest.raises(ConfigError, match=r"no driver 'two' in this run \(there is: one\)"):
        payload.driver("two")
    with pytest.raises(ConfigError, match=r"no client 'writer' in this run \(there is: reader\)"):
        payload.client_path("writer")


def test_staging_gathers_everything_in_one_folder(tmp_path: Path) -> None:
    client = tmp_path / "c" / "reader.exe"
    client.parent.mkdir()
    client.write_bytes(b"exe")
    payload = Payload(drivers={"one": package(tmp_path / "a", "one")}, clients={"reader": client})
    staged = payload.stage(tmp_path / "stage")
    assert {file.name: file.read_bytes() for file in staged.iterdir()} == {"one.sys": b"one", "reader.exe": b"exe"}


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    payload = Payload(
        drivers={
            "one": package(tmp_path / "a", "one", file="x.sys"),
            "two": package(tmp_path / "b", "two", file="X.SYS"),
        }
    )
    with pytest.raises(ConfigError, match="would overwrite each other"):
        payload.files()


def test_the_print_encoding_is_the_drivers_when_they_agree(tmp_path: Path) -> None:
    gbk, other = package(tmp_path, "one", encoding="gbk"), package(tmp_path, "two")
    assert Payload(drivers={"one": gbk}).encoding("utf-8") == "gbk"
    assert Payload(drivers={"one": gbk, "two": other}).encoding("cp1252") == "cp1252"
    assert Payload().encoding("utf-8") == "utf-8"


class TestChoosing:
    """Which driver an option means; prebuilt ones, so that nothing is compiled."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "mine"
        folder.mkdir()
        (folder / "mine.sys").write_bytes(b"driver")
        (folder / "exerciser.exe").write_bytes(b"client")
        (folder / "driver.yaml").write_text(
            "name: mine\nservice: MyService\nimage: mine.sys\n"
            "links: ['\\\\.\\Mine']\nencoding: gbk\nclients: [exerciser.exe]\n",
            encoding="utf-8",
        )
        return folder

    @pytest.fixture(autouse=True)
    def _no_checkout(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lab.pool.components.known_components", dict)

    @pytest.mark.parametrize("what", ["", "driver.yaml", "mine.sys"])
    def test_a_folder_a_manifest_or_a_file(self, folder: Path, tmp_path: Path, what: str) -> None:
        payload = make_payload([str(folder / what)], [], arch="x64", out=tmp_path / "out")
        driver = payload.driver("mine")
        assert (driver.service, driver.image, driver.encoding) == ("MyService", folder / "mine.sys", "gbk")
        assert driver.links == ("\\\\.\\Mine",)

    def test_clients_that_are_files_come_along(self, folder: Path, tmp_path: Path) -> None:
        payload = make_payload([str(folder)], [], arch="x64", out=tmp_path / "out")
        assert payload.clients == {"exerciser": folder / "exerciser.exe"}

    def test_a_file_without_a_manifest_is_described_by_its_name(self, tmp_path: Path) -> None:
        (tmp_path / "lonely.sys").write_bytes(b"driver")
        driver = make_payload([str(tmp_path / "lonely.sys")], ["lonely"], arch="x64", out=tmp_path / "out").driver("lonely")
        assert (driver.service, driver.links) == ("lonely", ())

    @pytest.mark.parametrize("name", ["nosuch", "nosuch.sys", "no/such/folder"])
    def test_what_does_not_exist_is_refused(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(ConfigError, match="there is no driver"):
            make_payload([str(tmp_path / name)], [], arch="x64", out=tmp_path / "out")

    def test_wanted_drivers_that_nobody_has_are_left_to_the_tests(self, tmp_path: Path) -> None:
        assert make_payload([], ["sync"], arch="x64", out=tmp_path / "out").drivers == {}


def test_a_file_named_as_the_checkouts_driver_takes_its_place(tmp_path: Path) -> None:
    image = tmp_path / "sync.sys"
    image.write_bytes(b"another build of it")
    payload = make_payload([str(image)], [], arch="x64", out=tmp_path / "out")
    driver = payload.driver("sync")
    assert driver.image == image
    assert driver.service == "LySharkSync"
    assert "sync_reader" in payload.clients
