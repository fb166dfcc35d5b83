from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.errors import ConfigError
from lab.toolchain.manifest import load_component, load_folder

if TYPE_CHECKING:
    from tests.toolchain.conftest import DriverFolder


def refused(folder: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_component(folder / "driver.yaml")
    return caught.value


def test_a_minimal_manifest_gets_its_defaults(driver_folder: DriverFolder) -> None:
    component = load_component(driver_folder() / "driver.yaml")
    manifest = component.manifest
    assert (manifest.kind, manifest.load_order_group, manifest.encoding) == ("driver", "LabDrivers", "utf-8")
    assert component.service == component.name == "tiny"
    assert component.prebuilt is None
    assert manifest.under_test


def test_a_misspelt_key_is_named_with_its_line_and_the_right_one(driver_folder: DriverFolder) -> None:
    error = refused(driver_folder(servic="X"))
    assert (error.key, error.line) == ("servic", 4)
    assert error.file.endswith("tiny/driver.yaml")
    assert "service" in error.hint


def test_a_missing_name_is_named(driver_folder: DriverFolder) -> None:
    folder = driver_folder()
    manifest = folder / "driver.yaml"
    manifest.write_text(manifest.read_text("utf-8").replace("name: tiny\n", ""), "utf-8")
    assert "name is missing" in str(refused(folder))


def test_a_missing_source_is_named_with_its_line(driver_folder: DriverFolder) -> None:
    error = refused(driver_folder(sources="[tiny.c, more.c]"))
    assert (error.key, error.line) == ("sources.1", 3)
    assert "more.c" in error.message


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("sources", "[/etc/x.c]", "path relative to the manifest's folder"),
        ("sources", "[x.pas]", "must end in one of .c, .cpp"),
        ("sources", r"[src\d.c]", "write src/d.c"),
        ("sources", "[entry.asm]", "GNU syntax, in files that end in .S"),
        ("sources", "['']", "must name a source"),
        ("include", r"['..\inc']", "write ../inc"),
        ("include", "[/usr/include]", "path relative to the manifest's folder"),
        ("defines", "[-DX]", "without -D"),
        ("defines", "{1X: 2}", "NAME or NAME=VALUE"),
        ("cflags", "[-o, x]", "the lab decides"),
        ("cflags", "['@options']", "the lab decides"),
        ("cflags", "[-flto]", "the lab decides"),
        ("libraries", "[-lksecdd]", "without -l"),
        ("api", "win9", "'win10'"),
        ("warnings", "all", "'errors', 'on' or 'off'"),
    ],
)
def test_wrong_build_keys_are_reported_with_their_line(driver_folder: DriverFolder, key: str, value: str, words: str) -> None:
    error = refused(driver_folder(**{key: value}))
    assert error.key == key
    assert error.line == (3 if key == "sources" else 4)
    assert words in error.message


def test_an_include_folder_that_is_not_there_is_named_with_its_line(driver_folder: DriverFolder) -> None:
    folder = driver_folder(include="[.., ../Inc]")
    (folder.parent / "inc").mkdir()
    error = refused(folder)
    assert (error.key, error.line) == ("include.1", 4)
    assert "its name is inc" in error.hint


def test_an_empty_manifest_is_reported_with_its_required_keys(tmp_path: Path) -> None:
    (tmp_path / "driver.yaml").write_text("# nothing yet\n", encoding="utf-8")
    error = refused(tmp_path)
    assert "driver.yaml:1: is empty" in error.message
    assert "name, image and sources" in error.hint


def test_definitions_may_be_a_mapping_and_warnings_a_plain_on(driver_folder: DriverFolder) -> None:
    keys = load_component(driver_folder(defines="{LIMIT: 4, TRACE: , SAFE: yes}", warnings="off") / "driver.yaml").manifest
    assert keys.defines == ("LIMIT=4", "TRACE", "SAFE=1")
    assert keys.warnings == "off"


def test_a_missing_finished_image_is_named(driver_folder: DriverFolder) -> None:
    error = refused(driver_folder(source=None, image="bin/tiny.sys"))
    assert error.key == "image"
    assert "bin/tiny.sys" in error.message
    assert "sources" in error.hint


def test_a_finished_image_is_found_from_the_manifests_folder(driver_folder: DriverFolder) -> None:
    folder = driver_folder(source=None, image="bin/tiny.sys")
    (folder / "bin").mkdir()
    (folder / "bin" / "tiny.sys").write_bytes(b"MZ")
    component = load_component(folder / "driver.yaml")
    assert component.prebuilt == folder / "bin" / "tiny.sys"
    assert component.image_name == "tiny.sys"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"image": "tiny.exe"}, "must end in .sys"),
        ({"kind": "program"}, "must end in .exe"),
        ({"kind": "program", "image": "t.exe", "clients": "[drvprobe]"}, "this is a program"),
        ({"image": "out/tiny.sys"}, "a file name without a folder"),
        ({"encoding": "klingon"}, "encoding of text that Python knows"),
        ({"encoding": "rot13"}, "encoding of text that Python knows"),
        ({"encoding": "undefined"}, "encoding of text that Python knows"),
        ({"links": "[LySharkSync]"}, "device names"),
        ({"kind": "dll"}, "'driver' or 'program'"),
        ({"service": "'a b'"}, "pattern"),
        ({"start": "boot"}, "tests start the other drivers"),
        ({"start": "auto"}, "'demand' or 'boot'"),
    ],
)
def test_contradictions_are_refused(driver_folder: DriverFolder, overrides: dict[str, str], words: str) -> None:
    assert words in str(refused(driver_folder(**overrides)))


def test_the_encoding_gets_its_canonical_name(driver_folder: DriverFolder) -> None:
    assert load_component(driver_folder(encoding="GBK") / "driver.yaml").manifest.encoding == "gbk"


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no driver\.yaml in the folder"):
        load_folder(tmp_path)
