"""The methods to write a snapshot's state into a file: each with a QEMU that has it, and the choice between them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.errors import SnapshotFailed, TransportError
from lab.host.qemu import QemuFeatures, probe_features
from lab.vm import statefile
from lab.vm.machine import VirtualMachine
from lab.vm.snapshot import fork, load_snapshot, take_snapshot
from lab.vm.statefile import choose_method
from tests.vm.counter import COUNTER, Counter, spec_of

RomMaker = Callable[..., Path]

NONE = QemuFeatures(
    x_ignore_shared=False,
    mapped_ram=False,
    file_migration=False,
    text_migration=False,
    read_only_ram_file=False,
    blockdev_change_medium=True,
    panic_none=True,
    dump_formats=(),
)


@pytest.fixture(scope="module")
def features() -> QemuFeatures:
    return probe_features("qemu-system-x86_64")


@pytest.fixture
def pipe(features: QemuFeatures) -> QemuFeatures:
    if not features.text_migration:
        pytest.skip("QEMU 8.2 and later never have their state written by a program of the system's")
    return features


@pytest.fixture
def file(features: QemuFeatures) -> QemuFeatures:
    if not features.file_migration:
        pytest.skip("QEMU before 8.2 has no file: addresses")
    return features


@pytest.fixture
def counted(tmp_path: Path, make_rom: RomMaker, monkeypatch: pytest.MonkeyPatch) -> Iterator[VirtualMachine]:
    """A counter that has counted to two; QEMU finds a ``cat`` of the test's own before the system's."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    disk = tmp_path / "image.raw"
    disk.write_bytes(bytes(1 << 20))
    with VirtualMachine(spec_of(make_rom(COUNTER), disk), tmp_path / "first") as machine:
        machine.start()
        counter = Counter(machine)
        assert [counter.count(), counter.count()] == [1, 2]
        (tmp_path / "template").mkdir()
        yield machine


def own_cat(tmp_path: Path, script: str) -> None:
    """Replace ``cat`` by a script; ``$CAT`` in it is the system's."""
    program = tmp_path / "bin" / "cat"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nCAT={shutil.which('cat')}\n{script}\n")
    program.chmod(0o700)


@pytest.mark.parametrize(("shared", "method"), [(True, "shared"), (False, "stream")])
@pytest.mark.parametrize(("new", "state_by"), [(True, "file"), (False, "pipe")])
def test_the_method_follows_from_qemus_features(shared: bool, method: str, new: bool, state_by: str) -> None:
    way = choose_method(replace(NONE, x_ignore_shared=shared, file_migration=new, text_migration=not new))
    assert (way.method, way.state_by) == (method, state_by)
    assert ("has x-ignore-shared" in way.why) == shared
    assert ("can migrate to file:" in way.why) == new


def test_the_method_for_old_qemus_is_not_used_for_new_ones() -> None:
    with pytest.raises(SnapshotFailed, match="lists its kinds of addresses, and none is for files"):
        choose_method(replace(NONE, x_ignore_shared=True))


def test_a_qemu_that_could_not_be_asked_takes_no_snapshot() -> None:
    with pytest.raises(SnapshotFailed, match="does not report its features"):
        choose_method(None)


def test_the_qemu_of_this_host_has_exactly_one_method(features: QemuFeatures) -> None:
    assert features.file_migration != features.text_migration
    assert choose_method(features).state_by == ("file" if features.file_migration else "pipe")


def test_a_state_by_file_needs_no_program(file: QemuFeatures, counted: VirtualMachine, tmp_path: Path) -> None:
    own_cat(tmp_path, f"touch {tmp_path}/called; exit 1")
    folder = tmp_path / "template"
    take_snapshot(counted, folder, ram=None, features=file)
    assert load_snapshot(folder).state_by == "file"
    assert not (tmp_path / "called").exists()
    with fork(load_snapshot(folder), folder, tmp_path / "a", name="a") as machine:
        machine.cont()
        assert Counter(machine).count() == 3


def test_a_state_that_cannot_be_written_to_a_file_is_not_a_snapshot(
    file: QemuFeatures, counted: VirtualMachine, tmp_path: Path
) -> None:
    (tmp_path / "template" / "state").symlink_to("/dev/full")
    with pytest.raises((SnapshotFailed, TransportError)):
        take_snapshot(counted, tmp_path / "template", ram=None, features=file)
    assert not (tmp_path / "template" / "snapshot.json").exists()


def test_a_state_is_complete_where_cat_is_slow(pipe: QemuFeatures, counted: VirtualMachine, tmp_path: Path) -> None:
    # All of the stream has left QEMU before the first byte of it is written.
    own_cat(tmp_path, f"$CAT > {tmp_path}/held; sleep 1; $CAT {tmp_path}/held")
    folder = tmp_path / "template"
    take_snapshot(counted, folder, ram=None, features=pipe)
    assert (folder / "state").read_bytes() == (tmp_path / "held").read_bytes() != b""
    assert not (folder / "state.ended").exists()
    (tmp_path / "bin" / "cat").unlink()
    with fork(load_snapshot(folder), folder, tmp_path / "a", name="a") as machine:
        machine.cont()
        assert Counter(machine).count() == 3


def test_a_cat_that_cannot_write_gives_no_snapshot(pipe: QemuFeatures, counted: VirtualMachine, tmp_path: Path) -> None:
    own_cat(tmp_path, "$CAT > /dev/null; exit 1")
    with pytest.raises(SnapshotFailed, match=r"`cat` could not write .* ended with 1"):
        take_snapshot(counted, tmp_path / "template", ram=None, features=pipe)
    assert not (tmp_path / "template" / "snapshot.json").exists()


def test_a_cat_that_does_not_end_is_given_up_at_the_deadline(
    pipe: QemuFeatures, counted: VirtualMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statefile, "_wait", lambda *_arguments, **_options: None)
    own_cat(tmp_path, "exec sleep 600")
    with pytest.raises(SnapshotFailed, match="did not write QEMU's state in time"):
        take_snapshot(counted, tmp_path / "template", ram=None, features=pipe, timeout=1)
