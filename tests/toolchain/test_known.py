"""Components by name: the lab's own, and those of the user's project."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import ConfigError
from lab.toolchain.known import find_components, known_components, lab_components, project_components, unknown_name


def write(folder: Path, name: str, *, image: str = "", more: str = "") -> Path:
    folder.mkdir(parents=True)
    (folder / "a.c").touch()
    file = folder / "driver.yaml"
    file.write_text(f"name: {name}\nimage: {image or name}.sys\nsources: [a.c]\n{more}", encoding="utf-8")
    return file


def test_the_checkouts_components() -> None:
    known = known_components()
    assert {"sync", "async", "sync_reader", "async_reader", "drvprobe", "labfile"} <= set(known)
    under_test = {name for name, part in known.items() if part.manifest.kind == "driver" and part.manifest.under_test}
    assert under_test == {"sync", "async"}
    assert known["sync"].manifest.links == ("\\\\.\\LySharkSync",)
    relay = known["relay"]
    assert (relay.service, relay.manifest.start, relay.manifest.load_order_group) == ("LabRelay", "boot", "System Bus Extender")


def test_two_components_of_the_lab_with_one_image_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / "driver" / name, name, image="same")
    with pytest.raises(ConfigError, match=r"same\.sys is taken by .*one/driver\.yaml"):
        lab_components(tmp_path)


def test_every_manifest_of_the_lab_has_a_description() -> None:
    assert all(component.manifest.description for component in lab_components().values())


def test_a_project_of_the_user_joins_the_labs_own_and_wins(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    mine = write(tmp_path / "src" / "drivers" / "kettle", "kettle")
    relay = write(tmp_path / "relay", "relay")
    known = known_components(tmp_path)
    assert (known["kettle"].file, known["relay"].file) == (mine, relay)
    assert "drvprobe" in known


def test_builds_hidden_folders_and_third_party_files_are_not_searched(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").touch()
    for place in ("build/x64", ".cache", "node_modules/x", "out/1/drivers"):
        write(tmp_path / place, "copy")
    assert project_components(tmp_path).components == {}


def test_without_a_project_the_search_is_not_deep(tmp_path: Path) -> None:
    """The current folder may be a home folder."""
    write(tmp_path / "near" / "by", "near")
    write(tmp_path / "far" / "away" / "from" / "here", "far")
    assert set(project_components(tmp_path).components) == {"near"}


def test_a_name_that_two_manifests_have_is_reported_with_both(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    files = [write(tmp_path / place / "kettle", "kettle") for place in ("old", "new")]
    assert "kettle" not in known_components(tmp_path)
    error = unknown_name("kettle", [], tmp_path)
    assert all(str(file) in error.message for file in files)


def test_a_manifest_that_cannot_be_read_is_reported_for_a_missing_name(tmp_path: Path) -> None:
    """A run that does not name it is not affected."""
    (tmp_path / ".git").mkdir()
    write(tmp_path / "kettle", "kettle", more="nonsense: 1\n")
    assert "kettle" not in known_components(tmp_path)
    error = unknown_name("kettle", ["drvprobe"], tmp_path)
    assert "drvprobe" in error.hint
    assert "nonsense" in error.hint


def test_all_of_a_project_is_refused_where_a_manifest_is_unsound(tmp_path: Path) -> None:
    """`lab driver build` said that there was nothing to build, or built the others and said nothing."""
    (tmp_path / ".git").mkdir()
    write(tmp_path / "sound", "sound")
    wrong = write(tmp_path / "kettle", "kettle", more="nonsense: 1\n")
    with pytest.raises(ConfigError, match="nonsense") as caught:
        find_components([], tmp_path)
    assert (caught.value.file, caught.value.line) == (str(wrong), 4)
    wrong.unlink()
    files = [write(tmp_path / place / "pot", "pot") for place in ("old", "new")]
    with pytest.raises(ConfigError, match="pot is the name of") as caught:
        find_components([], tmp_path)
    assert all(str(file) in caught.value.message for file in files)
