"""The tap in the free guest, whose kernel stand-in has no print callback: it loads, says so once, refuses marks, unloads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.guest.services import NOT_ACTIVE, ServiceState, create_call
from lab.host.accel import choose_accelerator, probe_accelerators
from lab.host.paths import cache_dir, runs_dir
from lab.image.store import find_image
from lab.live.boot import boot_guest
from lab.live.guest import LiveGuest
from lab.prints.record import FaultRecord, PrintRecord
from lab.toolchain.build import build_drivers
from lab.toolchain.known import known_components
from lab.vm.cleanup import RunFolder

pytestmark = pytest.mark.e2e

FOLDER = "C:\\lab\\tap"
NOT_SUPPORTED = 50
FILE_NOT_FOUND = 2


@pytest.fixture
def guest() -> Iterator[LiveGuest]:
    with RunFolder.create(runs_dir(), "tap-free-guest") as folder:
        guest = boot_guest(
            find_image("wine"),
            guest_id="tap-free-guest",
            run_dir=folder.path,
            accelerator=choose_accelerator("auto", probe_accelerators(cache_dir())),
        )
        try:
            yield guest
        finally:
            guest.close()


def tapped_words(guest: LiveGuest, token: str) -> list[str]:
    """What the tap has said so far, in the order in which it said it."""
    end = guest.prints.mark(token, timeout=60)
    records = guest.prints.records_since(0)[:end]
    assert not [record for record in records if isinstance(record, FaultRecord)]
    return [r.text for r in records if isinstance(r, PrintRecord) and r.text.startswith("labtap:")]


def test_it_loads_says_why_it_does_not_tap_and_unloads(guest: LiveGuest, tmp_path: Path) -> None:
    build_drivers(["tap", "tapmark"], "x64", tmp_path / "tap")
    guest.transport.put(tmp_path / "tap" / "labtap.sys", f"{FOLDER}\\labtap.sys")
    guest.transport.put(tmp_path / "tap" / "tapmark.exe", f"{FOLDER}\\tapmark.exe")
    tapmark = f"{FOLDER}\\tapmark.exe"
    assert guest.transport.run((tapmark, "t-0"), timeout=60, shell=False).exit_code == FILE_NOT_FOUND

    # As an image of Windows has it: started by the boot loader, and here by hand.
    manifest = known_components()["tap"].manifest
    assert manifest.start == "boot"
    call = create_call("LabTap", f"{FOLDER}\\labtap.sys", group=manifest.load_order_group, start=manifest.start)
    guest.services.batch([call])[0].check()
    guest.services.start("LabTap")
    assert guest.services.query("LabTap").state == ServiceState.RUNNING
    [words] = tapped_words(guest, "after-the-start")
    assert "no DbgSetDebugPrintCallback" in words
    assert "not tapped" in words

    refused = guest.transport.run((tapmark, "t-1"), timeout=60, shell=False)
    assert refused.exit_code == NOT_SUPPORTED
    assert "the tap refused the mark: Win32 error 50" in refused.error_text

    guest.services.stop("LabTap")
    stopped = guest.services.wait_state("LabTap", ServiceState.STOPPED)
    assert stopped.exit_code in (0, NOT_ACTIVE)
    assert guest.transport.run((tapmark, "t-2"), timeout=60, shell=False).exit_code == FILE_NOT_FOUND
    # A second load begins anew, device and link included.
    guest.services.start("LabTap")
    assert len(tapped_words(guest, "after-the-second-start")) == 2
    guest.services.remove("LabTap")
    assert not guest.services.exists("LabTap")
