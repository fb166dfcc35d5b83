"""Kinds of guest by name: what makes a folder of lab/image a kind, and the error for an image whose kind is not installed."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

import lab.image
from lab.errors import ImageError
from lab.image import health
from lab.image.credentials import make_secrets, save_credentials
from lab.image.folder import read_manifest
from lab.image.kind import GuestKind
from lab.image.manifest import ImageManifest
from lab.image.recipes import builder_of, kind_of_recipe, recipe_names
from lab.image.registry import guest_kinds, kind_named, kind_of, usable_kinds
from lab.image.store import images_dir, is_complete
from lab.live.machine_spec import machine_spec
from tests.simulated import manifest

NOW = datetime.datetime(2030, 6, 1, tzinfo=datetime.UTC)


def image_of(cache: Path, kind: str) -> Path:
    folder = images_dir(cache) / "one-0123"
    folder.mkdir()
    (folder / "manifest.json").write_text(manifest(kind=kind).model_dump_json(), encoding="utf-8")
    (folder / "disk.qcow2").touch()
    save_credentials(make_secrets("u", "h").credentials, folder)
    return folder


def test_each_folder_with_a_module_kind_is_one() -> None:
    folders = {file.parent.name for file in Path(lab.image.__path__[0]).glob("*/kind.py")}
    assert set(guest_kinds().names()) == folders == {"wine", "windows"}
    assert {type(kind).__name__ for kind in usable_kinds()} == {"FreeGuest", "WindowsKind"}


def test_recipes_belong_to_their_kinds_and_those_that_need_nothing_come_first() -> None:
    assert recipe_names()[0] == "wine"
    assert kind_of_recipe("windows-11") is kind_named("windows")
    assert kind_of_recipe("wine") is kind_named("wine")
    assert kind_of_recipe("solaris") is None
    assert builder_of("windows-11") is None


@pytest.mark.parametrize("name", ["wine", "windows"])
def test_results_of_two_kinds_are_never_described_in_the_same_words(name: str) -> None:
    others = [kind.words for kind in usable_kinds() if kind is not kind_named(name)]
    words = kind_named(name).words
    assert all(words.label != other.label and words.about != other.about for other in others)
    assert not words.warning or words.about.startswith(words.warning)


def test_only_windows_must_answer_twice() -> None:
    """Its WinRM service may restart once more at the end of a boot."""
    assert {name: kind_named(name).confirmations for name in ("wine", "windows")} == {"wine": 1, "windows": 2}


@pytest.mark.parametrize(("windows", "kind"), [(True, "windows"), (False, "wine")])
def test_a_manifest_from_before_guest_kinds_is_read(tmp_path: Path, windows: bool, kind: str) -> None:
    values = json.loads(manifest().model_dump_json(exclude={"kind"})) | {"is_windows": windows}
    (tmp_path / "manifest.json").write_text(json.dumps(values), encoding="utf-8")
    found = read_manifest(tmp_path)
    assert found.kind == kind
    assert found == manifest(kind=kind)
    assert "is_windows" not in found.model_dump()


def test_a_manifest_without_a_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kind"):
        ImageManifest.model_validate(manifest().model_dump(exclude={"kind"}))


def test_an_image_of_a_kind_that_is_not_installed_is_unusable_with_a_reason(tmp_path: Path) -> None:
    folder = image_of(tmp_path, "toaster")
    assert not is_complete(folder)
    with pytest.raises(ImageError, match="image simulated: there is no guest kind 'toaster'") as caught:
        kind_of(read_manifest(folder))
    assert "install the package that adds the guest kind toaster" in caught.value.hint
    [found] = health.examine_all(cache=tmp_path, now=NOW)
    assert found.level == "broken"
    assert "there is no guest kind 'toaster'" in found.findings[0].text
    assert health.is_current(folder, read_manifest(folder)) is None
    assert is_complete(image_of(tmp_path / "other", "wine"))


def test_the_vm_is_that_of_the_kind_with_the_ports_of_its_prints(tmp_path: Path) -> None:
    spec = machine_spec(manifest(), tmp_path, name="g", accelerator="tcg", hold=True)
    assert (spec.display, spec.rng) == (False, True)
    assert spec.actions.reboot == "shutdown"
    assert spec.actions.shutdown == "poweroff"
    windows = machine_spec(
        manifest(kind="windows", capabilities=("bugcheck",)), tmp_path, name="g", accelerator="tcg", hold=True
    )
    assert windows.display
    assert windows.actions.shutdown == "pause"


def test_every_kind_has_all_members_of_the_protocol() -> None:
    from lab.host.plugins import missing_members

    for kind in usable_kinds():
        assert missing_members(kind, GuestKind) == ()
