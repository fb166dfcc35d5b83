"""Images appear whole or not at all, one build at a time, and are found by name."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout

from lab.errors import ConfigError, ImageError
from lab.host import published
from lab.image import recipes, store
from lab.image.credentials import make_secrets, save_credentials
from lab.image.manifest import ImageManifest, MachineSpec, PrintPort, load_credentials, load_manifest, usual_offers
from lab.image.progress import Progress


class Silent:
    """Progress that records its lines."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def detail(self, text: str) -> None:
        self.stages.append(text)

    def done(self, text: str) -> None:
        self.stages.append(text)


def make_manifest(name: str = "fake", key: str = "k1", created: str = "2026-01-01T00:00:00+00:00") -> ImageManifest:
    return ImageManifest(
        name=name,
        key=key,
        created=created,
        guest="nothing at all",
        kind="wine",
        capabilities=("driver_load",),
        machine=MachineSpec(machine="q35", memory_mb=64, disk="disk.qcow2"),
        prints=PrintPort(source="wine", mark_port=5999),
        transports=usual_offers("winrm", "ssh"),
    )


class FakeRecipe:
    """Writes an image; ``during`` runs in the middle."""

    name = "fake"

    def __init__(self, key: str = "k1", during: Callable[[Path], None] = lambda folder: None, created: str = "2026") -> None:
        self._key = key
        self._during = during
        self._created = created
        self.builds = 0

    def key(self) -> str:
        return self._key

    def build(self, folder: Path, progress: Progress) -> None:
        self.builds += 1
        progress.stage("fake stage")
        (folder / "disk.qcow2").write_bytes(b"disk of build %d" % self.builds)
        save_credentials(make_secrets("labuser", "LAB").credentials, folder)
        self._during(folder)
        manifest = make_manifest(key=self._key, created=self._created)
        (folder / "manifest.json").write_text(manifest.model_dump_json(), encoding="utf-8")


def entries(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "images").iterdir() if path.is_dir())


def test_a_build_is_published_under_name_and_key(tmp_path: Path) -> None:
    folder, built = store.build_image(FakeRecipe(), Silent(), cache=tmp_path)
    assert built
    assert folder == tmp_path / "images" / "fake-k1"
    assert sorted(path.name for path in folder.iterdir()) == ["credentials.json", "disk.qcow2", "manifest.json"]
    assert load_manifest(folder) == make_manifest(created="2026")


def test_a_second_call_builds_nothing(tmp_path: Path) -> None:
    recipe = FakeRecipe()
    store.build_image(recipe, Silent(), cache=tmp_path)
    folder, built = store.build_image(recipe, Silent(), cache=tmp_path)
    assert (built, recipe.builds) == (False, 1)
    assert folder.name == "fake-k1"


def test_force_builds_anew_and_replaces(tmp_path: Path) -> None:
    recipe = FakeRecipe()
    store.build_image(recipe, Silent(), cache=tmp_path)
    folder, built = store.build_image(recipe, Silent(), cache=tmp_path, force=True)
    assert built
    assert (folder / "disk.qcow2").read_bytes() == b"disk of build 2"
    assert entries(tmp_path) == ["fake-k1"]


def test_nothing_has_the_final_name_while_the_build_works(tmp_path: Path) -> None:
    seen: list[list[str]] = []
    store.build_image(FakeRecipe(during=lambda folder: seen.append(entries(tmp_path))), Silent(), cache=tmp_path)
    assert len(seen) == 1
    assert [name.startswith(".fake-k1.") for name in seen[0]] == [True]


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        raise ImageError("the disk is bad")

    with pytest.raises(ImageError, match="the disk is bad"):
        store.build_image(FakeRecipe(during=fail), Silent(), cache=tmp_path)
    assert entries(tmp_path) == []


@pytest.mark.parametrize("name", ["disk.qcow2", "credentials.json"])
def test_a_recipe_that_forgets_a_file_is_not_published(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match="without a complete image"):
        store.build_image(FakeRecipe(during=lambda folder: (folder / name).unlink()), Silent(), cache=tmp_path)
    assert entries(tmp_path) == []


KILLED_BUILD = """
    import sys, time
    from pathlib import Path
    from lab.image import store

    class Slow:
        name = "fake"
        def key(self):
            return "k1"
        def build(self, folder, progress):
            (folder / "disk.qcow2").write_bytes(b"half")
            print("building", flush=True)
            sys.stdin.read()

    class Quiet:
        def stage(self, text): pass
        detail = done = stage

    store.build_image(Slow(), Quiet(), cache=Path(sys.argv[1]))
"""


def test_a_killed_build_leaves_no_image_and_the_next_build_cleans_up(tmp_path: Path) -> None:
    builder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED_BUILD), str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert builder.stdin is not None
    assert builder.stdout is not None
    try:
        assert builder.stdout.readline() == b"building\n"
        # While the build runs, its folder stays.
        assert store.remove_leftovers(tmp_path / "images") == []
    finally:
        os.kill(builder.pid, signal.SIGKILL)
        builder.wait(timeout=30)
        builder.stdin.close()
        builder.stdout.close()
    assert not (tmp_path / "images" / "fake-k1").exists()
    assert len(entries(tmp_path)) == 1
    folder, built = store.build_image(FakeRecipe(), Silent(), cache=tmp_path)
    assert built
    assert entries(tmp_path) == [folder.name]


def test_a_killed_build_is_cleaned_up_even_if_the_image_exists_now(tmp_path: Path) -> None:
    """With `--force` or an older recipe: nothing was built any more, and the folder stayed for ever."""
    store.build_image(FakeRecipe(), Silent(), cache=tmp_path)
    left = tmp_path / "images" / ".fake-k1.0123abcd.tmp"
    left.mkdir()
    (left / "disk.qcow2").write_bytes(b"half")
    folder, built = store.build_image(FakeRecipe(), Silent(), cache=tmp_path)
    assert not built
    assert entries(tmp_path) == [folder.name]


def test_no_sweep_meets_a_work_folder_that_is_not_locked_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = store.images_dir(tmp_path)
    sweeps: list[str] = []

    class Watched(FileLock):
        def acquire(self, *arguments: Any, **options: Any) -> Any:
            if self.lock_file.endswith("build.lock"):
                try:
                    with FileLock(base / ".lock", timeout=0):
                        sweeps.append("could sweep")
                except Timeout:
                    sweeps.append("had to wait")
            return super().acquire(*arguments, **options)

    monkeypatch.setattr(published, "FileLock", Watched)
    store.build_image(FakeRecipe(), Silent(), cache=tmp_path)
    left = base / ".fake-k2.0123abcd.tmp"
    left.mkdir()
    assert store.remove_leftovers(base) == [left]
    assert sweeps == ["had to wait", "had to wait"]
    assert entries(tmp_path) == ["fake-k1"]


def test_a_second_builder_waits_and_then_finds_the_image_there(tmp_path: Path) -> None:
    started, go_on = threading.Event(), threading.Event()

    def pause(folder: Path) -> None:
        started.set()
        assert go_on.wait(30)

    first = FakeRecipe(during=pause)
    thread = threading.Thread(target=lambda: store.build_image(first, Silent(), cache=tmp_path))
    thread.start()
    assert started.wait(30)

    class Releasing(Silent):
        """Lets the first builder continue as soon as the second one reports that it waits."""

        def stage(self, text: str) -> None:
            super().stage(text)
            go_on.set()

    progress = Releasing()
    second = FakeRecipe()
    _, built = store.build_image(second, progress, cache=tmp_path)
    thread.join(30)
    assert progress.stages == ["wait for another build of fake"]
    assert (built, first.builds, second.builds) == (False, 1, 0)


def test_waiting_for_another_build_has_an_end(tmp_path: Path) -> None:
    base = store.images_dir(tmp_path)
    with FileLock(base / ".fake.lock"), pytest.raises(ImageError, match="another process has been building") as caught:
        store.build_image(FakeRecipe(), Silent(), cache=tmp_path, wait_s=0.01)
    assert str(base) in caught.value.hint


def test_images_are_found_by_name_by_folder_name_and_by_path(tmp_path: Path) -> None:
    old, _ = store.build_image(FakeRecipe("k1", created="2026-01-01"), Silent(), cache=tmp_path)
    new, _ = store.build_image(FakeRecipe("k2", created="2026-02-01"), Silent(), cache=tmp_path)
    assert store.find_image("fake", cache=tmp_path) == new
    assert store.find_image("fake-k1", cache=tmp_path) == old
    assert store.find_image(str(old), cache=tmp_path) == old
    assert [image.path for image in store.list_images(cache=tmp_path)] == [new, old]
    assert store.list_images(cache=tmp_path)[0].size > 0


def test_an_unknown_image_is_reported_with_what_there_is(tmp_path: Path) -> None:
    store.build_image(FakeRecipe(), Silent(), cache=tmp_path)
    with pytest.raises(ImageError, match=r"no image .windows.*available: fake") as caught:
        store.find_image("windows", cache=tmp_path)
    assert caught.value.hint == "lab image build windows"


@pytest.mark.parametrize("text", ["", "{", '{"schema_version": 0}'])
def test_a_folder_with_a_bad_manifest_is_no_image(tmp_path: Path, text: str) -> None:
    folder = store.images_dir(tmp_path) / "fake-k1"
    folder.mkdir()
    (folder / "manifest.json").write_text(text)
    assert not store.is_complete(folder)
    assert store.list_images(cache=tmp_path) == []


def test_an_unknown_recipe_is_a_usage_error() -> None:
    with pytest.raises(ConfigError, match="no image recipe 'beos'") as caught:
        recipes.recipe_of("beos")
    assert "wine" in caught.value.hint


def test_credentials_are_random_private_and_come_back(tmp_path: Path) -> None:
    first, second = make_secrets("lab", "lab-wine"), make_secrets("lab", "lab-wine")
    assert first.credentials.password != second.credentials.password
    assert first.credentials.ssh_private_key != second.credentials.ssh_private_key
    path = save_credentials(first.credentials, tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_credentials(tmp_path) == first.credentials
    for secret in (first.credentials.password, first.credentials.ssh_private_key, first.tls_private_key):
        assert secret
        assert secret not in repr(first)
    with pytest.raises(FileExistsError):
        save_credentials(second.credentials, tmp_path)


def test_folders_that_are_not_the_labs_work_folders_stay(tmp_path: Path) -> None:
    base = tmp_path / "images"
    mine = base / ".mine.tmp"
    mine.mkdir(parents=True)
    (mine / "thesis.txt").write_text("of the user")
    (base / ".wine-1.0123abcd.tmp").write_text("a file")
    assert store.remove_leftovers(base) == []
    assert (mine / "thesis.txt").read_text() == "of the user"
