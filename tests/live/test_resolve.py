"""What guests are made from is looked at once, the quick things before an image is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.config.machine import Machine
from lab.errors import ConfigError, HostToolError, ImageError
from lab.host.accel import Accelerator, Accelerators
from lab.image.manifest import ImageManifest
from lab.live import resolve
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


def built_too_early() -> Path:
    raise AssertionError("the image was asked for")


def test_all_is_put_together(image: Path) -> None:
    machine = Machine(memory=512, cpus=2)
    found = resolve_guest(lambda: image, machine=machine)
    assert (found.image_dir, found.accelerator, found.hardware) == (image, "tcg", machine)
    assert (found.manifest.machine.memory_mb, found.manifest.machine.smp) == (512, 2)
    assert found.try_machine(forks=False) == ""


def test_an_accelerator_that_does_not_work_is_an_error_before_the_image_is_asked_for() -> None:
    with pytest.raises(HostToolError, match="kvm does not work here"):
        resolve_guest(built_too_early, accelerator="kvm")


def test_a_disk_that_is_not_there_is_an_error_before_the_image_is_asked_for(tmp_path: Path) -> None:
    machine = Machine.model_validate({"disks": [{"file": str(tmp_path / "none.qcow2")}]})
    with pytest.raises(ConfigError, match=r"none\.qcow2"):
        resolve_guest(built_too_early, machine=machine)


def test_a_debugger_that_the_image_does_not_boot_with_is_an_error(image: Path) -> None:
    with pytest.raises(ImageError, match="has no boot with a kernel debugger"):
        resolve_guest(lambda: image, debug="kd")


def test_the_manifest_is_that_of_the_boot(image: Path) -> None:
    as_built: ImageManifest = manifest()
    assert booted_manifest(image, "none", Machine()) == as_built
    assert booted_manifest(image, "none", Machine(memory=256)).machine.memory_mb == 256
