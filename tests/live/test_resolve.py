"""The inputs of guests are checked once, the quick checks before an image is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.config.machine import Machine
from lab.config.model import SessionSettings
from lab.errors import ConfigError, HostToolError, ImageError
from lab.host.accel import Accelerator, Accelerators
from lab.image.manifest import ImageManifest
from lab.live import chosen_drivers, resolve
from lab.live.chosen_drivers import ChosenDrivers
from lab.live.resolve import booted_manifest, resolve_guest
from tests.simulated import manifest

TCG_ONLY = Accelerators(kvm=Accelerator("kvm", False, "no /dev/kvm", 0.0), tcg=Accelerator("tcg", True, "", 0.3))


@pytest.fixture(autouse=True)
def _host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "probe_accelerators", lambda _cache: TCG_ONLY)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "manifest.json").write_text(manifest().model_dump_json(), encoding="utf-8")
    return tmp_path


def built_too_early(_name: str) -> Path:
    raise AssertionError("the image was asked for")


def test_the_parts_of_a_guest_are_resolved(image: Path) -> None:
    machine = Machine(memory=512, cpus=2)
    found = resolve_guest(SessionSettings(vm=machine), lambda _name: image)
    assert (found.image_dir, found.accelerator, found.hardware) == (image, "tcg", machine)
    assert (found.manifest.machine.memory_mb, found.manifest.machine.smp) == (512, 2)
    assert found.try_machine(forks=False) == ""


def test_an_accelerator_that_does_not_work_is_an_error_before_the_image_is_resolved() -> None:
    with pytest.raises(HostToolError, match="kvm does not work here"):
        resolve_guest(SessionSettings(accelerator="kvm"), built_too_early)


def test_a_missing_disk_is_an_error_before_the_image_is_resolved(tmp_path: Path) -> None:
    machine = Machine.model_validate({"disks": [{"file": str(tmp_path / "none.qcow2")}]})
    with pytest.raises(ConfigError, match=r"none\.qcow2"):
        resolve_guest(SessionSettings(vm=machine), built_too_early)


def test_a_debugger_that_the_image_does_not_boot_with_is_an_error(image: Path) -> None:
    with pytest.raises(ImageError, match="has no boot with a kernel debugger"):
        resolve_guest(SessionSettings(debug="kd"), lambda _name: image)


def test_the_manifest_is_that_of_the_boot(image: Path) -> None:
    as_built: ImageManifest = manifest()
    assert booted_manifest(image, "none", Machine()) == as_built
    assert booted_manifest(image, "none", Machine(memory=256)).machine.memory_mb == 256


def test_drivers_are_built_for_the_processor_of_the_image(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr(chosen_drivers, "resolve_drivers", lambda paths, **options: asked.update(paths=paths, **options) or ())
    values = SessionSettings(drivers=("new.sys",))
    guest = resolve_guest(values, lambda _name: image)
    drivers = ChosenDrivers.of(values, beside=("old",), project=tmp_path, names=("sync", "unheard-of"))
    assert guest.take_drivers(drivers, into=tmp_path / "copies") == ()
    assert (asked["paths"], asked["beside"], asked["names"]) == ((Path("new.sys"),), (Path("old"),), ("sync",))
    assert (asked["arch"], asked["into"], asked["project"]) == (guest.manifest.arch, tmp_path / "copies", tmp_path)


def test_a_missing_driver_is_refused(tmp_path: Path) -> None:
    ChosenDrivers(paths=(tmp_path,)).check_paths()
    for wrong in (ChosenDrivers(paths=(tmp_path / "a.sys",)), ChosenDrivers(beside=(tmp_path / "a.sys",))):
        with pytest.raises(ConfigError, match=r"there is no driver .*a\.sys"):
            wrong.check_paths()
