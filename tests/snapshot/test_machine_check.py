"""The VM of a template is checked in a real QEMU before a guest is booted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab.config.machine import AddedDevice, AddedDisk, Machine
from lab.errors import SnapshotFailed
from lab.host.accel import QEMU
from lab.host.process import run
from lab.host.qemu import QemuFeatures, probe_features
from lab.snapshot.machine_check import check_machine
from lab.snapshot.template import TemplateWish
from tests.simulated import manifest
from tests.snapshot.fakes import World

DATA = AddedDisk(file="/dev/null", format="raw", access="read-only", interface="none", id="d")
FREE = manifest(machine={"machine": "q35", "memory_mb": 256, "disk": "disk.qcow2", "cpu_tcg": "max,smap=off"})


@pytest.fixture(scope="module")
def features() -> QemuFeatures:
    return probe_features(QEMU)


@pytest.fixture
def wish(world: World) -> TemplateWish:
    disk = world.wish.image_dir / "disk.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "1M"], 30)
    return replace(world.wish.base(), manifest=FREE)


def test_the_free_guests_vm_can_be_forked(wish: TemplateWish, tmp_path: Path, features: QemuFeatures) -> None:
    check_machine(wish, tmp_path / "trial", features=features)


@pytest.mark.parametrize(
    ("hardware", "words"),
    [
        (Machine(devices=(AddedDevice(driver="edu"),)), "device added0 would be lost in a fork: QEMU does not save its state"),
        # QEMU's own words, about the device.
        (
            Machine(devices=(AddedDevice.model_validate({"driver": "nvme", "drive": "d", "serial": "s"}),), disks=(DATA,)),
            "nvme",
        ),
        (
            Machine(arguments=("-tpmdev", "passthrough,id=t,path=/none")),
            "the TPM (-tpmdev passthrough) keeps its state outside",
        ),
    ],
)
def test_a_vm_that_would_lose_something_is_refused_with_the_reason(
    wish: TemplateWish, tmp_path: Path, features: QemuFeatures, hardware: Machine, words: str
) -> None:
    with pytest.raises(SnapshotFailed) as caught:
        check_machine(replace(wish, hardware=hardware), tmp_path / "trial", features=features)
    assert caught.value.message.startswith("guests of simulated cannot be forked: ")
    assert words in caught.value.message
