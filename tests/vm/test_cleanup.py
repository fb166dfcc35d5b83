from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.vm.cleanup import MARKER, RunFolder, find_marker, in_use, sweep
from lab.vm.process import QemuProcess

OWNER = """
import sys, time
from pathlib import Path
from lab.vm.cleanup import RunFolder

folder = RunFolder.create(Path(sys.argv[1]), "run")
(folder.path / "overlay.qcow2").write_bytes(bytes(1000))
print(folder.path, flush=True)
time.sleep(600)
"""


def test_a_folder_lives_as_long_as_it_is_used(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "runs", "worker0") as folder:
        assert folder.path.name.startswith("worker0-")
        assert in_use(folder.path)
        assert sweep(tmp_path / "runs") == []
        assert folder.path.is_dir()
    assert not folder.path.exists()
    folder.remove()


def test_the_folder_of_a_killed_run_is_swept(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        path = Path(owner.stdout.readline().strip())
        assert sweep(tmp_path) == []
        owner.kill()
        owner.wait(60)
    assert (path / "overlay.qcow2").is_file()
    assert sweep(tmp_path) == [path]
    assert [entry.name for entry in tmp_path.iterdir()] == [".lock"]


def test_a_sweep_that_was_killed_is_finished_by_the_next(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run")
    folder.release()
    folder.path.rename(tmp_path / f".doomed-{folder.path.name}")
    assert sweep(tmp_path) == [folder.path]
    assert [entry.name for entry in tmp_path.iterdir()] == [".lock"]


def test_a_guest_keeps_its_folder(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run")
    guest = folder.path / "guest"
    guest.mkdir()
    marker = find_marker(guest)
    assert marker == folder.path / MARKER
    process = QemuProcess.start(["sleep", "600"], guest, lock_file=marker)
    process.detach()
    try:
        folder.release()
        assert sweep(tmp_path) == []
    finally:
        process.kill()
    assert process.wait(60)
    assert sweep(tmp_path) == [folder.path]


@pytest.mark.parametrize("content", ["nothing", "files"])
def test_folders_of_others_are_left_alone(tmp_path: Path, content: str) -> None:
    other = tmp_path / "somebody-elses"
    other.mkdir()
    if content == "files":
        (other / "precious").touch()
    assert sweep(tmp_path) == []
    assert other.is_dir()
    assert not in_use(other)
    assert find_marker(other) is None


def test_a_sweep_without_leftovers_does_nothing(tmp_path: Path) -> None:
    assert sweep(tmp_path / "never-made") == []


def test_a_folder_that_is_gone_already_is_no_error(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run")
    shutil.rmtree(folder.path)
    folder.remove()
    assert sweep(tmp_path) == []
