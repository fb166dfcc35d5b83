"""When an image expires, what never stays in a log, and the errors of a failed acceptance."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.errors import ImageError
from lab.image.manifest import load_credentials, load_manifest
from lab.image.windows import files
from lab.image.windows.accept import AcceptancePlan, accept
from lab.image.windows.build import build_log_dir, scrub
from lab.image.windows.build_record import expiry
from lab.image.windows.image_record import AcceptanceRecord, LicenceRecord
from lab.image.windows.inputs import Prepared
from lab.image.windows.iso import WindowsIso
from lab.image.windows.recipe import windows_recipe
from lab.image.windows.wim import Edition
from lab.vm.spec import VmSpec
from tests.image.windows.conftest import NOW, MakeImage
from tests.image.windows.guest_double import GuestDouble
from tests.machines import MachineDouble


class Silent:
    """Progress that is not shown."""

    def stage(self, text: str) -> None:
        """Nothing."""

    def detail(self, text: str) -> None:
        """Nothing."""

    def done(self, text: str) -> None:
        """Nothing."""


def inputs(edition: str = "Windows Server 2022 Standard Evaluation", **changes: Any) -> Prepared:
    found = Prepared(
        recipe=windows_recipe("windows-server-2022"),
        iso=WindowsIso(Path("w.iso"), 1, "L", "/sources/install.wim", ()),
        iso_sha256="0",
        edition=Edition(1, edition),
        openssh_msi=None,
        openssh_sha256="",
        product_key=None,
        certificates={},
        rendered={},
        checkout_key="c",
        key="k",
    )
    return replace(found, **changes)


def accepted(minutes: int = 0) -> AcceptanceRecord:
    return AcceptanceRecord(when=NOW, boot_s=1, licence=LicenceRecord(status=1, grace_minutes=minutes))


def test_the_licence_state_of_the_guest_has_priority() -> None:
    end, source = expiry(inputs(), accepted(60 * 24 * 10), NOW)
    assert end == NOW + datetime.timedelta(days=10)
    assert "the guest's own" in source


def test_without_licence_state_evaluation_media_expire_as_the_recipe_says() -> None:
    assert expiry(inputs(), accepted(), NOW)[0] == NOW + datetime.timedelta(days=180)
    assert expiry(inputs("Windows Server 2022 SERVERSTANDARDCORE"), accepted(), NOW) == (None, "")


@settings(deadline=None)
@given(st.binary(max_size=200), st.text(alphabet="abcXYZ09-", min_size=8, max_size=40))
def test_a_password_never_stays_in_a_log(tmp_path_factory: pytest.TempPathFactory, noise: bytes, secret: str) -> None:
    log = tmp_path_factory.mktemp("logs") / "serial1.log"
    log.write_bytes(noise + secret.encode() + b"|" + secret.encode("utf-16-le") + noise)
    size = log.stat().st_size
    scrub(log, secret)
    data = log.read_bytes()
    assert secret.encode() not in data
    assert secret.encode("utf-16-le") not in data
    assert len(data) == size


def test_each_build_has_a_folder_of_its_own_for_its_logs(tmp_path: Path) -> None:
    folder = build_log_dir(tmp_path, "windows-11", NOW)
    assert folder.parent == tmp_path / "builds"
    assert folder.name.startswith("windows-11-20300601-000000-")
    assert not folder.exists()


class StubbornMachine(MachineDouble):
    """A VM whose guest never powers off."""

    def __init__(self, spec: VmSpec, folder: Path) -> None:
        super().__init__(folder, spec)
        self.ports = {5985: 1}
        self.alive = False
        self.closed = False

    def screendump(self, target: Path, *, timeout: float = 10.0) -> Path:
        return target

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def attempt(make_image: MakeImage, tmp_path: Path) -> Callable[[GuestDouble], StubbornMachine]:
    """Accept an image whose guest is a double; returns the double of the VM."""
    folder = make_image()
    machines: list[StubbornMachine] = []

    def open_machine(spec: VmSpec, run_dir: Path) -> Any:
        machines.append(StubbornMachine(spec, run_dir))
        return machines[0]

    def run(guest: GuestDouble) -> StubbornMachine:
        plan = AcceptancePlan(
            recipe=windows_recipe("windows-server-2022"),
            manifest=load_manifest(folder).model_copy(update={"boot_timeout_s": 1.0}),
            credentials=load_credentials(folder),
            folder=folder,
            run_dir=tmp_path / "run",
            accelerator="tcg",
            thumbprints=(),
            kd_disk=folder / files.KD_DISK,
            final_disk=files.DISK,
        )
        accept(plan, Silent(), connect=lambda _port, _credentials: guest, open_machine=open_machine, shutdown_s=7, gap_s=0)
        return machines[0]

    return run


def test_no_disk_is_made_from_a_guest_that_does_not_power_off(attempt: Callable[[GuestDouble], StubbornMachine]) -> None:
    guest = GuestDouble()
    with pytest.raises(ImageError, match=r"did not power itself off: QEMU still runs after 7 s") as caught:
        attempt(guest)
    assert "screen shot: acceptance.png" in str(caught.value)
    assert guest.commands[-1].startswith("shutdown.exe")
    assert guest.closed


def test_a_guest_that_never_answers_is_reported_with_the_last_error(attempt: Callable[[GuestDouble], StubbornMachine]) -> None:
    guest = GuestDouble()
    guest.ready = lambda: False
    with pytest.raises(ImageError, match=r"(?s)acceptance boot failed: the guest answered no command.*connection refused"):
        attempt(guest)


def test_failed_checks_are_listed(attempt: Callable[[GuestDouble], StubbornMachine]) -> None:
    guest = GuestDouble()
    guest.limits["MaxShellsPerUser"] = 30
    guest.asked["vbs"] = 2
    with pytest.raises(ImageError) as caught:
        attempt(guest)
    assert "winrm MaxShellsPerUser: 30, wanted 100 or more" in str(caught.value)
    assert "virtualization-based security: 2, wanted 0 (off)" in str(caught.value)
    assert "shutdown" not in guest.commands[-1]
