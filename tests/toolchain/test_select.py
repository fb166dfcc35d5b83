from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.errors import ConfigError
from lab.host.assets import data_root
from lab.host.process import run
from lab.toolchain.build import build_components
from lab.toolchain.manifest import load_component
from lab.toolchain.select import DriverPackage, named_drivers, read_packages, resolve_drivers
from lab.toolchain.sign import SigningKey, sign

if TYPE_CHECKING:
    from tests.toolchain.conftest import DriverFolder

Resolve = Callable[..., dict[str, DriverPackage]]
#: As this repository's lab file names them.
OURS = tuple(data_root() / "driver" / name for name in ("sync", "async"))


@pytest.fixture(scope="module")
def shared_out(tmp_path_factory: pytest.TempPathFactory, built_clients: Callable[[Path], Path]) -> Path:
    return built_clients(tmp_path_factory.mktemp("select") / "out")


@pytest.fixture
def resolve(shared_out: Path, key: SigningKey, tmp_path_factory: pytest.TempPathFactory) -> Resolve:
    """Resolve with one folder of builds for all tests: the defaults are built once."""

    def call(*paths: Path) -> dict[str, DriverPackage]:
        copies = tmp_path_factory.mktemp("run") / "drivers"
        packages = resolve_drivers(paths, beside=OURS, into=copies, out=shared_out, key=key)
        return {package.name: package for package in packages}

    return call


@pytest.fixture
def finished(unsigned: Path, tmp_path: Path, key: SigningKey) -> Path:
    """A driver that is not the lab's, built and signed."""
    image = tmp_path / "finished.sys"
    sign(unsigned, image, "finished", key)
    return image


def refused(resolve: Resolve, *paths: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        resolve(*paths)
    return caught.value


def test_a_run_has_only_named_drivers(key: SigningKey, shared_out: Path, tmp_path: Path) -> None:
    """The lab's own two drivers were part of every run."""
    assert resolve_drivers(into=tmp_path / "drivers", out=shared_out, key=key) == ()
    (package,) = resolve_drivers(names=["sync"], into=tmp_path / "named", out=shared_out, key=key)
    assert (package.name, set(package.clients)) == ("sync", {"sync_reader", "drvprobe"})


def test_an_unknown_name_lists_the_known_ones(key: SigningKey, shared_out: Path, tmp_path: Path) -> None:
    for name in ("snyc", "drvprobe"):
        with pytest.raises(ConfigError, match=f"no driver or program called {name}") as caught:
            resolve_drivers(names=[name], into=tmp_path / name, out=shared_out, key=key)
        assert "async" in caught.value.hint


def test_the_lab_files_drivers(resolve: Resolve, shared_out: Path) -> None:
    packages = resolve()
    assert sorted(packages) == ["async", "sync"]
    sync = packages["sync"]
    assert (sync.service, sync.arch, sync.load_order_group, sync.encoding) == ("LySharkSync", "x64", "LabDrivers", "utf-8")
    assert sync.links == ("\\\\.\\LySharkSync",)
    assert sync.path == shared_out / "sync.sys"
    assert sync.image.read_bytes() == sync.path.read_bytes()
    assert sync.sha256 == hashlib.sha256(sync.image.read_bytes()).hexdigest()
    for name in ("sync_reader", "drvprobe"):
        assert sync.clients[name].read_bytes() == (shared_out / f"{name}.exe").read_bytes()


def test_a_sys_with_a_known_name_replaces_that_driver(resolve: Resolve, finished: Path, tmp_path: Path) -> None:
    mine = tmp_path / "Sync.SYS"
    shutil.copy(finished, mine)
    packages = resolve(mine)
    assert sorted(packages) == ["async", "sync"]
    assert packages["sync"].path == mine
    assert packages["sync"].service == "LySharkSync"
    assert packages["sync"].sha256 == hashlib.sha256(finished.read_bytes()).hexdigest()


def test_an_unknown_sys_gets_a_manifest_to_write(resolve: Resolve, finished: Path) -> None:
    error = refused(resolve, finished)
    assert "finished.sys" in error.message
    assert "driver.yaml" in error.hint
    assert "image: finished.sys" in error.hint
    assert "sync.sys" in error.hint


def test_the_manifest_that_the_hint_shows_works(resolve: Resolve, finished: Path, driver_folder: DriverFolder) -> None:
    folder = driver_folder("third", source=None, image="finished.sys", service="finished", clients="[drvprobe]")
    shutil.copy(finished, folder)
    packages = resolve(folder / "driver.yaml")
    assert sorted(packages) == ["async", "sync", "third"]
    assert packages["third"].path == folder / "finished.sys"
    assert set(packages["third"].clients) == {"drvprobe"}


def test_builds_of_the_users_project_lie_in_it(driver_folder: DriverFolder, key: SigningKey, tmp_path: Path) -> None:
    """They went into the lab's checkout; where the lab is installed there is none."""
    folder = driver_folder("kettle")
    project = folder.parent
    (package,) = resolve_drivers([folder], project=project, into=tmp_path / "run", key=key)
    assert package.path == project / "build" / "x64" / "kettle.sys"
    assert (project / "build" / "x64" / ".gitignore").read_text() == "*\n"
    # A second one of this name, and a file that the lab did not build, stay what they are.
    copy = project / "copy" / "kettle"
    shutil.copytree(folder, copy)
    (other,) = resolve_drivers([copy], project=project, into=tmp_path / "run2", key=key)
    assert other.path.parent.parent == project / "build" / "x64" / "selected"
    theirs = project / "build" / "x64" / "mug.sys"
    theirs.write_bytes(b"theirs")
    (mug,) = resolve_drivers([driver_folder("mug")], project=project, into=tmp_path / "run3", key=key)
    assert (mug.path.name, theirs.read_bytes()) == ("mug.sys", b"theirs")
    assert mug.path.is_relative_to(project / "build" / "x64" / "selected")


def test_a_folder_with_sources_is_built_beside_the_checkouts_builds(
    resolve: Resolve, driver_folder: DriverFolder, shared_out: Path
) -> None:
    ours = resolve()["sync"].sha256
    folder = driver_folder("sync", service="LySharkSync")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    package = resolve(folder)["sync"]
    assert package.path.relative_to(shared_out / "selected").name == "sync.sys"
    assert package.sha256 != ours
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert resolve()["sync"].sha256 == ours


def test_two_checkouts_of_one_driver_share_no_build(resolve: Resolve, driver_folder: DriverFolder, tmp_path: Path) -> None:
    """They shared `selected/sync.sys`: the second one's build took the place of the first one's."""
    source = "#include <ntddk.h>\nNTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT d, PUNICODE_STRING p)\n"
    packages = []
    for place in ("one", "two"):
        folder = driver_folder(
            "sync", service="LySharkSync", source=f'{source}{{ (void)d; (void)p; return DbgPrint("{place}"); }}\n'
        )
        folder.rename(tmp_path / place)
        packages.append(resolve(tmp_path / place)["sync"])
    assert [place in package.image.read_bytes() for package, place in zip(packages, (b"one\0", b"two\0"), strict=True)] == [
        True,
        True,
    ]


def test_a_folder_of_built_files(resolve: Resolve, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "builds"
    folder.mkdir()
    for name in ("sync.sys", "async.sys", "labcompat.sys"):
        shutil.copy(finished, folder / name)
    packages = resolve(folder)
    assert {name: package.path for name, package in packages.items()} == {
        "sync": folder / "sync.sys",
        "async": folder / "async.sys",
    }


def test_clients_of_the_user(resolve: Resolve, driver_folder: DriverFolder) -> None:
    folder = driver_folder(clients="[bin/mine.exe, drvprobe]")
    (folder / "bin").mkdir()
    (folder / "bin" / "mine.exe").write_bytes(b"MZ")
    clients = resolve(folder)["tiny"].clients
    assert (clients["mine"].name, clients["mine"].read_bytes()) == ("mine.exe", b"MZ")
    assert set(clients) == {"mine", "drvprobe"}


def test_a_missing_client_is_named(resolve: Resolve, driver_folder: DriverFolder) -> None:
    error = refused(resolve, driver_folder(clients="[nothing]"))
    assert "nothing is neither a known program" in error.message
    assert (error.key, error.line) == ("clients.0", 4)


def test_one_driver_twice_is_refused(resolve: Resolve, finished: Path, tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        shutil.copy(finished, tmp_path / place / "sync.sys")
    error = refused(resolve, tmp_path / "a" / "sync.sys", tmp_path / "b" / "sync.sys")
    assert "both have the driver name sync" in error.message


@pytest.mark.parametrize(
    ("overrides", "named"),
    [({"service": "LYSHARKSYNC"}, "service"), ({"image": "sync.sys"}, "image")],
    ids=["service", "image"],
)
def test_another_name_for_a_known_service_or_image_is_refused(
    resolve: Resolve, driver_folder: DriverFolder, overrides: dict[str, str], named: str
) -> None:
    error = refused(resolve, driver_folder(**overrides))
    assert error.key == named
    assert "is also the" in error.message


def test_the_wrong_processor_is_refused(resolve: Resolve, tmp_path: Path, driver_folder: DriverFolder) -> None:
    folder = driver_folder()
    build_components([load_component(folder / "driver.yaml")], "x86", tmp_path / "x86", None)
    mine = tmp_path / "x86" / "sync.sys"
    (tmp_path / "x86" / "tiny.sys").rename(mine)
    assert "is for x86, and the guest is x64" in refused(resolve, mine).message


def test_a_program_is_not_a_driver(resolve: Resolve, tmp_path: Path) -> None:
    resolve()
    mine = tmp_path / "sync.sys"
    shutil.copy(resolve()["sync"].clients["drvprobe"], mine)
    assert "is not a driver" in refused(resolve, mine).message


def test_paths_without_a_driver_are_refused(resolve: Resolve, tmp_path: Path) -> None:
    assert "no such file or folder" in refused(resolve, tmp_path / "none").message
    (tmp_path / "empty").mkdir()
    assert "neither a driver.yaml nor a .sys" in refused(resolve, tmp_path / "empty").message
    text = tmp_path / "notes.txt"
    text.touch()
    assert "is neither a .sys file" in refused(resolve, text).message


def test_the_checkouts_own_folder_is_the_default(resolve: Resolve) -> None:
    chosen, ours = resolve(data_root() / "driver" / "sync")["sync"], resolve()["sync"]
    assert (chosen.path, chosen.sha256) == (ours.path, ours.sha256)


def test_symbols_of_builds_and_of_finished_drivers_are_found(
    resolve: Resolve, tmp_path: Path, driver_folder: DriverFolder
) -> None:
    assert [file.name for file in resolve()["sync"].symbols] == ["sync.dbg"]
    mine = tmp_path / "mine" / "sync.sys"
    mine.parent.mkdir()
    shutil.copy(resolve()["sync"].image, mine)
    assert resolve(mine)["sync"].symbols == ()
    mine.with_suffix(".pdb").touch()
    assert [file.name for file in resolve(mine)["sync"].symbols] == ["sync.pdb"]


def test_later_changes_by_the_user_have_no_effect(resolve: Resolve, finished: Path, tmp_path: Path) -> None:
    """The file was hashed here and read again after the boot: the run tested a file that it did not name."""
    mine = tmp_path / "sync.sys"
    shutil.copy(finished, mine)
    before = mine.read_bytes()
    package = resolve(mine)["sync"]
    mine.write_bytes(before.replace(b"tiny", b"othr"))
    for client in package.clients.values():
        assert not client.stat().st_mode & 0o222
    assert package.image.read_bytes() == before
    assert package.sha256 == hashlib.sha256(before).hexdigest()
    assert resolve(mine)["sync"].sha256 != package.sha256


def test_two_clients_of_one_name_are_refused(resolve: Resolve, driver_folder: DriverFolder) -> None:
    """The second one silently took the place of the first one's."""
    folders = [driver_folder(name, clients="[mine.exe]") for name in ("one", "two")]
    for folder in folders:
        (folder / "mine.exe").write_bytes(folder.name.encode())
    assert "have the same name" in refused(resolve, *folders).message


def test_the_names_that_each_path_of_the_user_means(
    resolve: Resolve, finished: Path, driver_folder: DriverFolder, tmp_path: Path
) -> None:
    """The lab's own programs are not under test, wherever they are."""
    folder = tmp_path / "builds"
    folder.mkdir()
    for name in ("sync.sys", "async.sys", "labcompat.sys"):
        shutil.copy(finished, folder / name)
    mine = driver_folder("kettle")
    assert named_drivers([folder, mine, folder / "labcompat.sys"]) == (("async", "sync"), ("kettle",))


def test_without_a_folder_the_copies_live_as_long_as_the_process(tmp_path: Path, built_clients: Callable[[Path], Path]) -> None:
    """As a guest source of the user's own calls it."""
    built_clients(tmp_path / "builds")
    program = """
import sys
from pathlib import Path
from lab.toolchain.select import resolve_drivers
packages = resolve_drivers(names=["sync"], out=Path(sys.argv[1]))
assert all(package.image.is_file() for package in packages)
print(packages[0].image)
"""
    argv = [sys.executable, "-c", program, str(tmp_path / "builds")]
    done = run(argv, 300, env={**os.environ, "TMPDIR": str(tmp_path), "LAB_STATE": str(tmp_path / "state")})
    image = Path(done.stdout.splitlines()[-1])
    copies = image.parent.parent
    assert copies.parent == tmp_path
    assert not copies.exists()


def test_a_path_that_is_no_utf_8_is_read_back(
    key: SigningKey, shared_out: Path, driver_folder: DriverFolder, finished: Path, tmp_path: Path
) -> None:
    folder = driver_folder("kettle", source=None, image="finished.sys", clients="[mine.exe]")
    (folder / "mine.exe").write_bytes(b"MZ")
    shutil.copy(finished, folder)
    odd = folder.rename(tmp_path / os.fsdecode(b"caf\xe9"))
    into = odd / "out" / "drivers"
    packages = resolve_drivers([odd], into=into, out=shared_out, key=key)
    assert read_packages(into) == packages
    assert next(package for package in packages if package.name == "kettle").path == odd / "finished.sys"


def test_a_worker_reads_what_was_resolved(key: SigningKey, shared_out: Path, tmp_path: Path) -> None:
    assert read_packages(tmp_path / "drivers") is None
    packages = resolve_drivers(names=["sync"], into=tmp_path / "drivers", out=shared_out, key=key)
    assert read_packages(tmp_path / "drivers") == packages
