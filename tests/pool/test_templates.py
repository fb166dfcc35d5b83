"""The templates of a folder: made once, published whole, bounded, and gone without a trace when their maker is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lab.errors import FreezeFailed, TransportError
from lab.pool.template import Template, read_template, write_template
from lab.pool.templates import TemplateStore
from lab.vm.freeze import Frozen, write_frozen
from lab.vm.spec import VmSpec


def fill(folder: Path, key: str, *, drivers: tuple[str, ...] = (), image: str = "wine", created: float = 1.0) -> None:
    """The files of a template whose machine nobody will ever start."""
    (folder / "state").write_bytes(b"device state")
    status = (folder / "state").stat()
    frozen = Frozen(method="stream", spec=VmSpec(), files={"state": (status.st_size, status.st_mtime_ns)})
    write_frozen(folder, frozen)
    write_template(
        Template(
            folder=folder,
            key=key,
            image=image,
            image_key="i",
            guest="free guest",
            drivers=drivers,
            smp=1,
            transport="winrm",
            created=created,
            boot_s=8.0,
            made_s=9.0,
            prints={"next_line": 4},
            parked={"shell": "S", "command": "C"},
        )
    )


class Clock:
    """Moves on by a second whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> TemplateStore:
    return TemplateStore(tmp_path / "templates", keep=3, clock=Clock())


def make(store: TemplateStore, key: str) -> Template:
    template, made = store.make("wine", key, lambda folder: fill(folder, key))
    assert made
    return template


def names(store: TemplateStore) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir() if path.name != ".wine.lock")


def test_a_template_is_made_once_and_found_again(store: TemplateStore) -> None:
    assert store.find("k1") is None
    template = make(store, "k1")
    assert (template.folder.name, template.prints, template.parked["shell"]) == ("wine-k1", {"next_line": 4}, "S")
    again, made = store.make("wine", "k1", lambda _folder: pytest.fail("it is there"))
    assert (again, made) == (template, False)
    assert names(store) == ["wine-k1"]
    assert sorted(path.name for path in template.folder.iterdir()) == ["frozen.json", "state", "template.json"]


def test_others_wait_while_one_makes_it_and_are_told_so(store: TemplateStore) -> None:
    building, told = threading.Event(), threading.Event()
    said: list[str] = []
    made: list[bool] = []

    def build(folder: Path) -> None:
        building.set()
        assert told.wait(30)
        fill(folder, "k1")

    def tell(text: str) -> None:
        said.append(text)
        told.set()

    first = threading.Thread(target=lambda: made.append(store.make("wine", "k1", build)[1]))
    first.start()
    assert building.wait(30)
    _, second = store.make("wine", "k1", lambda _folder: pytest.fail("made twice"), progress=tell)
    first.join(30)
    assert (made, second) == ([True], False)
    assert said == ["wait for another worker's template of wine"]


def test_a_maker_that_never_ends_is_given_up(store: TemplateStore, tmp_path: Path) -> None:
    store.folder.mkdir()
    with store._lock("wine", lambda _text: None):
        impatient = TemplateStore(store.folder, wait_s=0.01)
        with pytest.raises(FreezeFailed, match="has been making a template"):
            impatient.make("wine", "k1", lambda _folder: None)
    del tmp_path


def test_a_build_that_fails_leaves_nothing(store: TemplateStore) -> None:
    def build(folder: Path) -> None:
        (folder / "ram").write_bytes(b"half of it")
        raise TransportError("the guest does not answer")

    with pytest.raises(TransportError):
        store.make("wine", "k1", build)
    assert names(store) == []
    make(store, "k1")


@pytest.mark.parametrize("damage", ["state", "template.json", "frozen.json"])
def test_a_damaged_template_is_removed_and_made_anew(store: TemplateStore, damage: str) -> None:
    template = make(store, "k1")
    (template.folder / damage).write_bytes(b"something else")
    assert store.all() == []
    assert store.find("k1") is None
    assert names(store) == []
    make(store, "k1")


def test_only_the_last_used_ones_stay(store: TemplateStore) -> None:
    for key in ("a", "b", "c"):
        make(store, key)
    assert store.find("a") is not None  # used once more
    make(store, "d")
    assert names(store) == ["wine-a", "wine-c", "wine-d"]
    assert [template.key for template in store.all()] == ["d", "a", "c"]


def test_pruning_removes_all_but_what_is_still_of_use(store: TemplateStore) -> None:
    for key in ("a", "b", "c"):
        make(store, key)
    removed = store.prune(unless=lambda template: template.key == "b")
    assert sorted(path.name for path in removed) == ["wine-a", "wine-c"]
    assert names(store) == ["wine-b"]
    assert store.prune() != []
    assert names(store) == []


def test_discarding_spares_what_was_made_in_the_meantime(store: TemplateStore) -> None:
    old = make(store, "k1")
    store.discard(old)
    assert names(store) == []
    store.discard(old)  # twice is fine
    store.make("wine", "k1", lambda folder: fill(folder, "k1", created=2.0))
    store.discard(old)
    assert names(store) == ["wine-k1"]


MAKER = """
import sys, pathlib, time
sys.path.insert(0, {root!r})
from lab.pool.templates import TemplateStore
def build(folder):
    (folder / "ram").write_bytes(b"half of it")
    print("building", flush=True)
    time.sleep(600)
TemplateStore(pathlib.Path({folder!r})).make("wine", "k1", build)
"""


def test_a_killed_maker_leaves_no_lock_and_no_half_made_template(store: TemplateStore) -> None:
    root = str(Path(__file__).parents[2])
    argv = [sys.executable, "-c", MAKER.format(root=root, folder=str(store.folder))]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as maker:
        assert maker.stdout is not None
        assert maker.stdout.readline() == b"building\n"
        assert store.remove_leftovers() == []  # it is at work
        os.kill(maker.pid, signal.SIGKILL)
        maker.wait(30)
    assert store.find("k1") is None
    assert store.all() == []
    make(store, "k1")
    assert names(store) == ["wine-k1"]


def test_what_is_no_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FreezeFailed, match="holds no template"):
        read_template(tmp_path)
    (tmp_path / "template.json").write_text("[]")
    with pytest.raises(FreezeFailed, match="holds no template"):
        read_template(tmp_path)
