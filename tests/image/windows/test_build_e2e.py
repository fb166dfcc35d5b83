"""The whole build command, with the stand-in for Setup in a real QEMU: what a good build leaves, and a failed one.

The installation is real, in a real QEMU, and so is the boot of the finished disk. A double answers the questions of the
acceptance boot: the stand-in is not Windows and has no WinRM.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab.errors import ConfigError, HostToolError, ImageError
from lab.host.assets import data_root
from lab.host.process import run
from lab.image import health, store
from lab.image.manifest import load_credentials, load_manifest
from lab.image.windows import build as build_module
from lab.image.windows.image_record import load_record
from lab.image.windows.inputs import UserInputs
from lab.image.windows.install_events import load_events
from lab.image.windows.install_host import (
    HostDiskFull,
    InstallError,
    InstallLooped,
    InstallStalled,
    StageFailed,
    require_accelerator,
)
from lab.image.windows.machine import InstallPlan
from lab.image.windows.recipe import windows_recipe
from lab.live.print_wiring import booted_as
from tests.image.windows.building import BUDGETS, EDITION, StandinAcceptance, build, compiling_once, small, standin_recipe
from tests.image.windows.guest_double import ENTRY, GuestDouble
from tests.image.windows.standin.media import Mode, assemble, make_windows_cd
from tests.image.windows.uefi.disk import efi_program
from tests.image.windows.uefi.disk import make_windows_cd as make_uefi_cd

pytestmark = pytest.mark.e2e


class Recorder:
    """Progress that records its lines."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def stage(self, text: str) -> None:
        self.texts.append(text)

    def detail(self, text: str) -> None:
        self.texts.append(text)

    def done(self, text: str) -> None:
        self.texts.append(text)


class Bench:
    """A cache folder, a log folder, and ISOs of the stand-in."""

    def __init__(self, code: bytes, compiled: Path, folder: Path) -> None:
        self._code = code
        self.compiled = compiled
        self.folder = folder
        self.cache = folder / "cache"
        self.logs = folder / "logs"

    def iso(self, mode: Mode = Mode.GOOD, edition: str = EDITION) -> Path:
        target = self.folder / f"{mode.name}-{edition.partition(' ')[0]}.iso"
        # Written twice, there would be two ISOs, because they contain dates.
        return target if target.exists() else make_windows_cd(self._code, mode, target, [edition])

    def build(self, mode: Mode = Mode.GOOD, **changes: object) -> tuple[Path, bool]:
        changes = {"progress": Recorder(), **changes}
        return build(self.iso(mode), self.cache, self.logs, **changes)  # type: ignore[arg-type]

    def qemus(self) -> list[psutil.Process]:
        """QEMUs that run in a folder below this bench's."""
        found = []
        for process in psutil.process_iter(["name", "cwd"]):
            place = str(process.info["cwd"] or "")
            if str(process.info["name"]).startswith("qemu-system") and place.startswith(str(self.folder)):
                found.append(process)
        return found

    def assert_nothing_built(self) -> None:
        """No image, no folder that could be taken for one, nothing half-built, no QEMU."""
        images = store.images_dir(self.cache)
        assert store.list_images(cache=self.cache) == []
        assert [path.name for path in images.iterdir() if path.is_dir()] == []
        assert self.qemus() == []


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return assemble(tmp_path_factory.mktemp("standin"))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first build of this module has compiled, and the key that it has signed with."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def bench(code: bytes, compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(build_module, "build_components", compiling_once(compiled))
    monkeypatch.setenv("LAB_DATA", str(compiled / "data"))
    found = Bench(code, compiled, tmp_path)
    yield found
    assert found.qemus() == []


def test_a_good_build_is_published_whole_and_is_up_to_date_the_second_time(bench: Bench) -> None:
    progress = Recorder()
    acceptance = StandinAcceptance()
    folder, built = bench.build(progress=progress, acceptor=acceptance)
    assert built
    assert sorted(path.name for path in folder.iterdir()) == [
        *("credentials.json", "disk-kd.qcow2", "disk.qcow2", "image.json", "inputs.zip", "install.jsonl", "manifest.json"),
    ]
    assert {"Windows Setup: winpe", "acceptance boot", "restart 3"} <= set(progress.texts)

    manifest = load_manifest(folder)
    assert manifest.kind == "windows"
    assert (manifest.name, manifest.machine.disk, manifest.machine.disk_interface) == ("windows-10", "disk.qcow2", "ide")
    assert manifest.prints.source == "relay"
    # By version, and so is the VM of Setup: Windows finds no other hardware later.
    assert re.fullmatch(r"pc-q35-\d+\.\d+,hpet=off,vmport=off", manifest.machine.machine)
    assert f"-machine {manifest.machine.machine}" in (bench.logs / "qemu.cmd").read_text().replace("'", "")
    assert folder.name == f"windows-10-{manifest.key}"
    assert store.find_image("windows-10", cache=bench.cache) == folder

    record = load_record(folder)
    assert record.edition.name == EDITION
    assert record.iso.sha256 == run(["sha256sum", bench.iso()], 60).stdout.split()[0]
    assert record.disk_sha256 == run(["sha256sum", folder / "disk.qcow2"], 60).stdout.split()[0]
    assert record.install.resets == 3
    assert record.acceptance.kd_entry == ENTRY
    assert all(check.ok for check in record.acceptance.checks)
    assert record.evaluation_from == "the guest's own licence service"
    assert record.certificates[0].file == "lab.cer"

    # The second disk is an overlay of the first one, by a name that stays right wherever the folder is moved to.
    info = json.loads(run(["qemu-img", "info", "--output=json", folder / "disk-kd.qcow2"], 60).stdout)
    assert info["backing-filename"] == "disk.qcow2"
    debugged = booted_as(manifest, "kd")
    assert debugged.machine.disk == "disk-kd.qcow2"
    assert debugged.prints.source == "kd"
    assert {"dbgprint", "kernel_debugger"} <= set(debugged.capabilities)
    assert acceptance.guest.default == ENTRY
    for disk in ("disk.qcow2", "disk-kd.qcow2"):
        run(["qemu-img", "check", "-q", folder / disk], 60)

    (sound,) = health.examine_all(cache=bench.cache, verify=True)
    assert [item.text for item in sound.findings if item.level == "broken"] == []

    assert bench.build(progress=Recorder()) == (folder, False)


def test_secrets_are_in_one_file_alone(bench: Bench) -> None:
    folder, _built = bench.build()
    password = load_credentials(folder).password
    assert (folder / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert load_credentials(folder).ssh_private_key is None
    with zipfile.ZipFile(folder / "inputs.zip") as archive:
        assert "autounattend.xml" in archive.namelist()
        assert all(password.encode() not in archive.read(name) for name in archive.namelist())
    told = [path for path in bench.folder.rglob("*") if path.is_file() and path.name != "credentials.json"]
    assert [path.name for path in told if password.encode() in path.read_bytes()] == []


def test_other_inputs_are_another_image(bench: Bench) -> None:
    folder, _built = bench.build()
    recipe = standin_recipe().model_copy(update={"crash_dump": "mini"})
    guest = GuestDouble()
    guest.registry[r"HKLM\SYSTEM\CurrentControlSet\Control\CrashControl", "CrashDumpEnabled"] = ("REG_DWORD", "0x3")
    other, built = bench.build(recipe=recipe, acceptor=StandinAcceptance(guest))
    assert built
    assert other != folder
    assert len(store.list_images(cache=bench.cache)) == 2


@pytest.mark.parametrize(
    ("mode", "budgets", "error", "said"),
    [
        (Mode.HANG, {"stall_s": 3.0}, InstallStalled, "no reset, console output or disk write"),
        (Mode.LOOP, {"max_resets": 3}, InstallLooped, "again and again"),
        (Mode.FAIL, {}, StageFailed, "stage oobe failed in the guest: no such account"),
    ],
)
def test_a_failed_installation_leaves_only_its_logs(
    bench: Bench, mode: Mode, budgets: dict[str, Any], error: type[InstallError], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        bench.build(mode, budgets=replace(BUDGETS, **budgets))
    bench.assert_nothing_built()
    assert str(bench.logs) in str(caught.value)
    assert {"install.jsonl", "serial0.log"} <= {path.name for path in bench.logs.iterdir()}
    # The files of this build do not prevent the next one.
    assert bench.build()[1]


def test_an_image_that_fails_its_checks_is_not_published(bench: Bench) -> None:
    guest = GuestDouble()
    guest.registry.pop((r"HKLM\SYSTEM\CurrentControlSet\Control", "SystemStartOptions"))
    with pytest.raises(ImageError, match=r"(?s)acceptance boot failed.*test signing in force: nothing, wanted TESTSIGNING"):
        bench.build(acceptor=StandinAcceptance(guest))
    bench.assert_nothing_built()
    kept = {path.name for path in (bench.logs / "acceptance").iterdir()}
    assert {"serial0.log", "qemu.cmd", "acceptance.png"} <= kept
    assert "the stand-in is up" in (bench.logs / "acceptance" / "serial0.log").read_text()


def test_the_disk_of_a_failed_build_can_be_kept_with_its_credentials(bench: Bench) -> None:
    guest = GuestDouble()
    guest.stages = ""
    with pytest.raises(ImageError, match="acceptance boot failed"):
        bench.build(acceptor=StandinAcceptance(guest), keep_failed=True)
    bench.assert_nothing_built()
    assert (bench.logs / "disk.qcow2.failed").is_file()
    assert (bench.logs / "credentials.json").stat().st_mode & 0o777 == 0o600


def test_a_wrong_file_and_a_missing_edition_are_reported_before_anything_begins(bench: Bench) -> None:
    wrong = bench.folder / "notes.iso"
    wrong.write_text("my notes")
    for iso, said in ((wrong, "is not an ISO file"), (bench.folder / "none.iso", "cannot be opened")):
        with pytest.raises(ConfigError, match=said):
            build(iso, bench.cache, bench.logs, progress=Recorder())
    with pytest.raises(ConfigError, match=r"(?s)has no image .*it has:\n    1: DOS 6"):
        build(bench.iso(edition="DOS 6"), bench.cache, bench.logs, progress=Recorder())
    iso = bench.iso()
    with pytest.raises(ConfigError, match="is not an MSI"):
        build(iso, bench.cache, bench.logs, progress=Recorder(), given=UserInputs(iso=iso, openssh_msi=wrong))
    bench.assert_nothing_built()
    assert not bench.logs.exists()
    assert wrong.read_text() == "my notes"


def test_a_host_without_kvm_is_refused_before_anything_begins(bench: Bench) -> None:
    with pytest.raises(HostToolError, match="takes hours"):
        bench.build(before=lambda: require_accelerator(False, False))
    bench.assert_nothing_built()
    assert not bench.logs.exists()


def test_a_full_disk_is_reported_as_such_wherever_it_occurs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HostDiskFull, match="GiB free"):
        bench.build(budgets=replace(BUDGETS, min_free_bytes=1 << 60))
    bench.assert_nothing_built()

    rules = bench.folder / "full.conf"
    rules.write_text('[inject-error]\nevent = "write_aio"\nerrno = "28"\n', encoding="ascii")

    def fill(plan: InstallPlan) -> InstallPlan:
        # The drive's file again, through a layer in which each write of data fails as on a full disk.
        full = ("-set", f"drive.drive0.file=blkdebug:{rules}:{plan.partial_disk}")
        return replace(small(plan), extra=full)

    with pytest.raises(HostDiskFull, match="the host disk is full"):
        bench.build(tune=fill)
    bench.assert_nothing_built()

    def no_room(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "image.json")

    monkeypatch.setattr(build_module, "save_record", no_room)
    with pytest.raises(HostDiskFull, match=r"No space left on device at image\.json"):
        bench.build()
    bench.assert_nothing_built()


def test_the_server_s_own_recipe_is_built_with_uefi_firmware(bench: Bench) -> None:
    """The stand-in as a UEFI program, and nothing of the recipe changed except the sizes of VM and disk."""
    recipe = windows_recipe("windows-server-2022")
    iso = make_uefi_cd(efi_program(bench.folder), bench.folder / "uefi.iso", bench.folder, recipe.editions[:1])
    folder, built = build(
        iso,
        bench.cache,
        bench.logs,
        progress=Recorder(),
        recipe=recipe,
        acceptor=StandinAcceptance(memory_mb=256, up="the UEFI stand-in is up: 1"),
        budgets=replace(BUDGETS, total_s=400, stall_s=120),
        tune=lambda plan: replace(plan, disk_gb=1, memory_mb=256),
    )
    assert built
    told = [event for event in load_events(folder / "install.jsonl") if event.kind in ("stage", "reset", "key", "write")]
    stages = [event.detail for event in told if event.kind == "stage"]
    assert stages == [
        *("winpe start", "winpe ok", "specialize start", "specialize ok", "oobe start", "oobe ok", "provision start", "done ok")
    ]
    assert load_record(folder).install.resets == 3
    # The key was pressed after the firmware's output, and not any more once Setup wrote.
    keys = [event.at_s for event in told if event.kind == "key"]
    assert keys
    assert keys[0] < BUDGETS.key_after_s  # the firmware's console, not the clock, started it
    assert max(keys) <= next(event.at_s for event in told if event.kind == "write")
    # The variables of Setup are kept: without them the stand-in would not know its phase.
    manifest = load_manifest(folder)
    assert manifest.machine.firmware == "uefi"
    assert {"firmware.fd", "vars.qcow2"} <= {path.name for path in folder.iterdir()}
    assert load_record(folder).firmware.code_sha256
    run(["qemu-img", "check", "-q", folder / "vars.qcow2"], 60)
    (sound,) = health.examine_all(cache=bench.cache, verify=True)
    assert sound.level == "ok", sound.as_json()


def start_building(bench: Bench, *, until: str) -> subprocess.Popen[str]:
    """A build in a process of its own, at the line ``until``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.image.windows.building", bench.iso(Mode.HANG), bench.cache, bench.logs, bench.compiled],
        cwd=data_root(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if until in line:
            return process
    raise AssertionError(f"the build ended with {process.wait(60)} before it reported {until!r}")


def test_an_interrupted_build_leaves_nothing(bench: Bench) -> None:
    process = start_building(bench, until="Windows Setup: specialize")
    assert bench.qemus()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    bench.assert_nothing_built()
    assert "specialize start" in (bench.logs / "install.jsonl").read_text()


def test_a_killed_build_leaves_no_qemu_and_no_folder_that_looks_like_an_image(bench: Bench) -> None:
    process = start_building(bench, until="Windows Setup: specialize")
    qemus = bench.qemus()
    assert qemus
    process.kill()
    process.communicate(timeout=60)
    _gone, alive = psutil.wait_procs(qemus, timeout=30)
    assert alive == []
    images = store.images_dir(bench.cache)
    (half,) = [path for path in images.iterdir() if path.is_dir()]
    assert half.name.startswith(".")
    assert (half / "disk.qcow2.partial").exists()
    assert store.list_images(cache=bench.cache) == []
    with pytest.raises(ImageError):
        store.find_image("windows-10", cache=bench.cache)
    # The doctor shows the leftover, and lists no image.
    assert [item.path for item in health.examine_all(cache=bench.cache)] == [half]
    # The next build takes it away.
    folder, built = bench.build()
    assert built
    assert [path for path in images.iterdir() if path.is_dir()] == [folder]
