"""What several tests of Windows images need."""

from __future__ import annotations

import datetime
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.image.credentials import make_secrets, save_credentials
from lab.image.manifest import ImageManifest, MachineSpec, PrintPort, usual_offers
from lab.image.store import images_dir
from lab.image.windows import files
from lab.image.windows.guest_machine import debug_boot
from lab.image.windows.image_record import (
    AcceptanceRecord,
    CertificateRecord,
    CheckRecord,
    EditionRecord,
    FirmwareRecord,
    ImageRecord,
    InstallRecord,
    IsoRecord,
    save_record,
)
from lab.image.windows.inputs import present_checkout_key
from lab.image.windows.machine import CPUS, MACHINE, NIC
from lab.image.windows.recipe import windows_recipe

NOW = datetime.datetime(2030, 6, 1, tzinfo=datetime.UTC)
NAME = "windows-server-2022"

#: Makes an image folder in a cache; keyword arguments change its record.
MakeImage = Callable[..., Path]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def make_image(cache: Path) -> MakeImage:
    def make(key: str = "k1", **changes: object) -> Path:
        folder = images_dir(cache) / f"{NAME}-{key}"
        folder.mkdir()
        for name in (files.DISK, files.KD_DISK, files.FIRMWARE_CODE, files.FIRMWARE_VARS):
            (folder / name).write_bytes(name.encode())
        manifest = ImageManifest(
            name=NAME,
            key=key,
            created=NOW.isoformat(),
            guest="Windows Server 2022",
            kind="windows",
            capabilities=("nt_kernel", "winrm"),
            machine=MachineSpec(
                machine=f"pc-{MACHINE.replace(',', '-9.0,', 1)}",
                memory_mb=64,
                smp=1,
                cpu_kvm=CPUS["kvm"],
                cpu_tcg=CPUS["tcg"],
                disk_interface="ide",
                nic=NIC,
                disk=files.DISK,
                firmware="uefi",
            ),
            prints=PrintPort(source="none", serial=1),
            debug=debug_boot(),
            transports=usual_offers("winrm"),
        )
        (folder / "manifest.json").write_text(manifest.model_dump_json(), encoding="utf-8")
        save_credentials(make_secrets("labuser", "LAB").credentials, folder)
        record = ImageRecord(
            name=NAME,
            key=key,
            checkout_key=present_checkout_key(windows_recipe(NAME), 1, ssh=False),
            built=NOW,
            tool_version="0",
            iso=IsoRecord(name="w.iso", size=1, label="L", sha256="0"),
            edition=EditionRecord(index=1, name="E"),
            firmware=FirmwareRecord(kind="uefi"),
            disk_sha256=_sha256(folder / files.DISK),
            kd_disk_sha256=_sha256(folder / files.KD_DISK),
            evaluation_expires=NOW + datetime.timedelta(days=100),
            evaluation_from="the guest's own licence service",
            certificates=(
                CertificateRecord(file="lab.cer", subject="CN=x", sha1="0", expires=NOW + datetime.timedelta(days=1000)),
            ),
            install=InstallRecord(duration_s=1, resets=3, accelerator="kvm", qemu="7.2"),
            acceptance=AcceptanceRecord(
                when=NOW,
                boot_s=1,
                checks=(CheckRecord(name="test signing in force", ok=True, value="TESTSIGNING", wanted="TESTSIGNING"),),
            ),
        )
        save_record(record.model_copy(update=changes), folder)
        return folder

    return make


def _sha256(file: Path) -> str:
    tool = shutil.which("sha256sum")
    assert tool
    return subprocess.run([tool, file], check=True, capture_output=True, text=True, timeout=60).stdout.split()[0]
