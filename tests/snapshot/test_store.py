"""The templates of a folder: made once, published whole, limited in number, and removed after a killed maker."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout

from lab.errors import SnapshotFailed, TransportError
from lab.host import published
from lab.snapshot.store import TemplateStore
from lab.snapshot.template import Template, read_template
from tests.snapshot.folders import K1, contents, fill, foreign, key_of, make


class Clock:
    """Advances by a second with each reading."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> TemplateStore:
    return TemplateStore(tmp_path / "templates", keep=3, clock=Clock())


def names(store: TemplateStore) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir() if path.name not in (".wine.lock", ".lock"))


def test_a_template_is_made_once_and_found_again(store: TemplateStore) -> None:
    assert store.find(K1) is None
    template = make(store, K1)
    assert (template.folder.name, template.prints.numbers, template.parked["shell"]) == (f"wine-{K1}", {"next_line": 4}, "S")
    again, made = store.make("wine", K1, lambda _folder: pytest.fail("it is there"))
    assert (again, made) == (template, False)
    assert names(store) == [f"wine-{K1}"]
    assert sorted(path.name for path in template.folder.iterdir()) == ["snapshot.json", "state", "template.json"]


def test_others_wait_while_one_makes_it_and_show_a_message(store: TemplateStore) -> None:
    building, told = threading.Event(), threading.Event()
    said: list[str] = []
    made: list[bool] = []

    def build(folder: Path) -> None:
        building.set()
        assert told.wait(30)
        fill(folder, K1)

    def tell(text: str) -> None:
        said.append(text)
        told.set()

    first = threading.Thread(target=lambda: made.append(store.make("wine", K1, build)[1]))
    first.start()
    assert building.wait(30)
    _, second = store.make("wine", K1, lambda _folder: pytest.fail("made twice"), progress=tell)
    first.join(30)
    assert (made, second) == ([True], False)
    assert said == ["wait for another worker's template of wine"]


def test_a_maker_that_never_ends_is_given_up(store: TemplateStore, tmp_path: Path) -> None:
    store.folder.mkdir()
    with FileLock(store.folder / ".wine.lock"):
        impatient = TemplateStore(store.folder, wait_s=0.01)
        with pytest.raises(SnapshotFailed, match="has been making a template"):
            impatient.make("wine", K1, lambda _folder: None)
    del tmp_path


def test_a_build_that_fails_leaves_nothing(store: TemplateStore) -> None:
    def build(folder: Path) -> None:
        (folder / "ram").write_bytes(b"half of it")
        raise TransportError("the guest does not answer")

    with pytest.raises(TransportError):
        store.make("wine", K1, build)
    assert names(store) == []
    make(store, K1)


@pytest.mark.parametrize("damage", ["state", "template.json", "snapshot.json"])
def test_a_damaged_template_is_removed_and_made_anew(store: TemplateStore, damage: str) -> None:
    template = make(store, K1)
    (template.folder / damage).write_bytes(b"something else")
    assert store.all() == []
    assert store.find(K1) is None
    assert names(store) == []
    make(store, K1)


def test_only_the_last_used_ones_stay(store: TemplateStore) -> None:
    for key in ("a", "b", "c"):
        make(store, key_of(key))
    assert store.find(key_of("a")) is not None  # used once more
    make(store, key_of("d"))
    assert names(store) == [f"wine-{key_of('a')}", f"wine-{key_of('c')}", f"wine-{key_of('d')}"]
    assert [template.key for template in store.all()] == [key_of(name) for name in "dac"]


def test_pruning_removes_all_but_what_is_still_of_use(store: TemplateStore) -> None:
    for key in ("a", "b", "c"):
        make(store, key_of(key))
    removed = store.prune(unless=lambda template: template.key == key_of("b"))
    assert sorted(path.name for path in removed) == [f"wine-{key_of('a')}", f"wine-{key_of('c')}"]
    assert names(store) == [f"wine-{key_of('b')}"]
    assert store.prune() != []
    assert names(store) == []


def test_foreign_files_stay(store: TemplateStore) -> None:
    files = foreign(store.folder)
    for name in "abcd":
        make(store, key_of(name))  # more than stay: sweeps and prunes
    damaged = make(store, key_of("e")).folder
    (damaged / "template.json").unlink()
    left = store.folder / f".wine-{K1}.0123abcd.tmp"
    left.mkdir()
    (left / "snapshot.json").write_text("half removed")
    assert store.remove_leftovers() == [left]
    assert damaged in store.prune()
    assert store.all() == []
    assert contents(store.folder, files) == files
    assert not any((store.folder / name).exists() for name in (damaged.name, left.name, f"wine-{key_of('d')}"))
    assert not list(store.folder.glob(".*.tmp/maker.lock"))


def test_a_foreign_folder_in_the_way_of_a_template_is_named_and_stays(store: TemplateStore) -> None:
    files = foreign(store.folder)
    with pytest.raises(SnapshotFailed, match="has the name of a template"):
        make(store, key_of("mine"))
    assert contents(store.folder, files) == files
    assert not list(store.folder.glob(".wine.*.tmp/template.json"))


def test_a_template_that_vanishes_while_it_is_looked_up_is_not_there(store: TemplateStore) -> None:
    template = make(store, K1)

    def clock() -> float:
        shutil.rmtree(template.folder, ignore_errors=True)
        return 1.0

    assert TemplateStore(store.folder, clock=clock).find(K1) is None


def test_pruning_spares_what_is_published_meanwhile(store: TemplateStore) -> None:
    make(store, K1)
    other = TemplateStore(store.folder)

    def unless(_template: Template) -> bool:
        make(other, key_of("new"))
        return False

    assert [path.name for path in store.prune(unless=unless)] == [f"wine-{K1}"]
    assert names(store) == [f"wine-{key_of('new')}"]


def test_no_sweep_meets_a_work_folder_that_is_not_locked_yet(store: TemplateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    sweeps: list[str] = []

    class Watched(FileLock):
        def acquire(self, *arguments: Any, **options: Any) -> Any:
            if self.lock_file.endswith("maker.lock"):
                try:
                    with FileLock(store.folder / ".lock", timeout=0):
                        sweeps.append("could sweep")
                except Timeout:
                    sweeps.append("had to wait")
            return super().acquire(*arguments, **options)

    monkeypatch.setattr(published, "FileLock", Watched)
    make(store, K1)
    left = store.folder / ".wine.0123abcd.tmp"
    left.mkdir()
    (left / "maker.lock").touch()
    assert store.remove_leftovers() == [left]
    assert sweeps == ["had to wait", "had to wait"]


def test_a_template_is_on_the_disk_before_it_has_its_name(store: TemplateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    named: list[list[int]] = []
    rename = Path.rename
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))

    def renamed(path: Path, target: Path) -> Path:
        named.append(list(synced))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", renamed)
    folder = make(store, K1).folder
    assert {path.stat().st_ino for path in (*folder.iterdir(), folder)} <= set(named[0])
    assert synced[-1] == store.folder.stat().st_ino


def test_discarding_spares_what_was_made_in_the_meantime(store: TemplateStore) -> None:
    old = make(store, K1)
    store.discard(old)
    assert names(store) == []
    store.discard(old)  # twice is fine
    store.make("wine", K1, lambda folder: fill(folder, K1, created=2.0))
    store.discard(old)
    assert names(store) == [f"wine-{K1}"]


MAKER = """
import sys, pathlib, time
sys.path.insert(0, {root!r})
from lab.snapshot.store import TemplateStore
def build(folder):
    (folder / "ram").write_bytes(b"half of it")
    print("building", flush=True)
    time.sleep(600)
TemplateStore(pathlib.Path({folder!r})).make("wine", {key!r}, build)
"""


def test_a_killed_maker_leaves_no_lock_and_no_half_made_template(store: TemplateStore) -> None:
    root = str(Path(__file__).parents[2])
    argv = [sys.executable, "-c", MAKER.format(root=root, folder=str(store.folder), key=K1)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as maker:
        assert maker.stdout is not None
        assert maker.stdout.readline() == b"building\n"
        assert store.remove_leftovers() == []  # it is at work
        os.kill(maker.pid, signal.SIGKILL)
        maker.wait(30)
    assert store.find(K1) is None
    assert store.all() == []
    make(store, K1)
    assert names(store) == [f"wine-{K1}"]


def test_a_folder_that_is_not_a_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SnapshotFailed, match="is not a template"):
        read_template(tmp_path)
    (tmp_path / "template.json").write_text("[]")
    with pytest.raises(SnapshotFailed, match="is not a template"):
        read_template(tmp_path)


def test_a_template_under_the_key_of_another_is_not_used(tmp_path: Path) -> None:
    """A template names its own key, so a template under another key is not used."""
    store = TemplateStore(tmp_path / "templates")
    store.make("wine", K1, lambda folder: fill(folder, K1))
    other = key_of("other")
    (tmp_path / "templates" / f"wine-{K1}").rename(tmp_path / "templates" / f"wine-{other}")
    assert store.find(other) is None
    assert store.all() == []
