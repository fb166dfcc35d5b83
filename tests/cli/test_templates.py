"""`lab templates`, `lab snapshot`, `lab fork` where no guest is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lab import errors
from lab.cli import resolved
from lab.cli import templates as module
from lab.cli.main import app
from lab.errors import ConfigError, LabError, SnapshotFailed
from lab.image.manifest import DebugBoot, ImageManifest, PrintPort
from lab.live import resolve
from lab.snapshot.fork_request import ForkFigures, ForkWish
from lab.snapshot.store import TemplateStore
from lab.snapshot.template import Template
from tests.simulated import manifest
from tests.snapshot.folders import K1, contents, fill, foreign, key_of


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TemplateStore:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path))
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(module, "list_images", list)
    return TemplateStore(tmp_path / "templates")


def lab(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def make(store: TemplateStore, key: str, *, drivers: tuple[str, ...] = ()) -> Template:
    return store.make("wine", key, lambda folder: fill(folder, key, drivers=drivers))[0]


def test_templates_are_listed_with_what_is_in_them(store: TemplateStore) -> None:
    assert "there is no template" in lab("templates").output
    template = make(store, K1, drivers=("async", "sync"))
    output = lab("templates").output
    assert f"{K1}: wine, 1 CPU with async, sync loaded; free guest" in output
    assert "in 9.0 s; its boot took 8.0 s" in output
    assert str(template.folder) in output


def test_pruning_keeps_templates_whose_image_exists(store: TemplateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    make(store, K1)

    class Image:
        class manifest:
            key = "i"

    monkeypatch.setattr(module, "list_images", lambda: [Image])
    assert "removed 0 template(s)" in lab("templates", "--prune").output
    assert store.find(K1) is not None
    monkeypatch.setattr(module, "list_images", list)
    assert "removed 1 template(s)" in lab("templates", "--prune").output
    assert store.find(K1) is None


def test_all_templates_are_removed_on_request(store: TemplateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in (K1, key_of("k2")):
        make(store, key)
    assert "removed 2 template(s)" in lab("templates", "--prune", "--all").output
    result = lab("templates", "--all")
    assert isinstance(result.exception, ConfigError)
    assert "--prune" in str(result.exception)
    del monkeypatch


@pytest.mark.parametrize("options", [("--prune",), ("--prune", "--all")])
def test_pruning_leaves_foreign_files_alone(store: TemplateStore, options: tuple[str, ...]) -> None:
    files = foreign(store.folder)
    make(store, K1)
    assert "removed 1 template(s)" in lab("templates", *options).output
    assert contents(store.folder, files) == files


@pytest.mark.parametrize("command", ["snapshot", "fork"])
def test_guests_that_cannot_be_forked_are_reported_with_the_way_to_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path))
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(resolve, "probe_accelerators", lambda _cache: None)
    monkeypatch.setattr(resolve, "choose_accelerator", lambda _wanted, _found: "tcg")
    monkeypatch.setattr(resolved, "ensure_image", lambda _name, _progress: tmp_path)
    monkeypatch.setattr(resolve, "read_manifest", lambda _folder: manifest(name="windows-11", prints={"source": "none"}))
    error = lab(command, "--guest", "windows-11").exception
    assert isinstance(error, SnapshotFailed)
    assert "an image with no print channel cannot be forked" in error.message
    assert "`lab up --guest windows-11`" in error.hint


@pytest.mark.parametrize(("debug", "source"), [("none", "relay"), ("kd", "kd")])
def test_a_template_has_the_debugger_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, debug: str, source: str
) -> None:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path))
    monkeypatch.setenv("LAB_DEBUG", debug)
    monkeypatch.setattr(resolve, "probe_accelerators", lambda _cache: None)
    monkeypatch.setattr(resolve, "choose_accelerator", lambda _wanted, _found: "tcg")
    monkeypatch.setattr(resolved, "ensure_image", lambda _name, _progress: tmp_path)
    entry = DebugBoot(prints=PrintPort(source="kd", serial=0, encoding="cp1252"))
    booted = manifest(name="windows-11", prints={"source": "relay"}, debug=entry)
    monkeypatch.setattr(resolve, "read_manifest", lambda _folder: booted)
    asked: list[str] = []

    def refuse(wanted: ImageManifest) -> bool:
        asked.append(wanted.prints.source)
        return False

    monkeypatch.setattr(module, "can_resume", refuse)
    assert isinstance(lab("snapshot", "--guest", "windows-11").exception, SnapshotFailed)
    assert asked == [source]


class FakeForks:
    """Has one template, or none with a reason."""

    def __init__(self, template: Template | None, note: str = "") -> None:
        self.found = template
        self.figures = ForkFigures(notes=[note] if note else [])
        self.closed = False

    def template(self, wish: ForkWish) -> Template | None:
        return self.found

    def close(self) -> None:
        self.closed = True


def use(monkeypatch: pytest.MonkeyPatch, forks: FakeForks, *drivers: str) -> None:
    def stand_in(*_arguments: object, **_options: object) -> Any:
        return forks, ForkWish(1, drivers)

    monkeypatch.setattr(module, "_forks", stand_in)


def test_lab_snapshot_prints_where_the_template_is(store: TemplateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    forks = FakeForks(make(store, K1, drivers=("sync",)))
    use(monkeypatch, forks, "sync")
    result = lab("snapshot", "--load", "sync")
    assert result.exit_code == 0, result.output
    assert "wine, 1 CPU with sync loaded" in result.output
    assert forks.closed
    assert "old name" not in result.output


def test_the_old_name_of_lab_snapshot_works_and_says_so(store: TemplateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, FakeForks(make(store, K1, drivers=("sync",))), "sync")
    result = lab("freeze", "--load", "sync")
    assert result.exit_code == 0, result.output
    assert "`lab freeze` is the old name of `lab snapshot`" in result.stderr
    assert "with sync loaded" in result.stdout
    assert errors.FreezeFailed is SnapshotFailed


@pytest.mark.parametrize("command", ["snapshot", "fork"])
def test_the_reason_for_a_missing_template_is_reported(
    store: TemplateStore, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    forks = FakeForks(None, "no template can be made, so guests are booted: QEMU could not write its state")
    use(monkeypatch, forks)
    error = lab(command).exception
    assert isinstance(error, SnapshotFailed)
    assert "could not write its state" in str(error)
    assert forks.closed
    # Loaded drivers that were asked for, and could not be, are no success either.
    use(monkeypatch, FakeForks(make(store, K1), "sync cannot be loaded in a template: 577"), "sync")
    failed = lab(command, "--load", "sync").exception
    assert isinstance(failed, LabError)
    assert "577" in str(failed)
