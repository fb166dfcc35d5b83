"""The print relay in the free guest, whose kernel has no print callback: it loads, reports that, refuses marks, unloads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.guest.services import NOT_ACTIVE, ServiceState, create_call
from lab.live.guest import LiveGuest
from lab.prints.record import FaultRecord, PrintRecord
from lab.toolchain.build import build_drivers
from lab.toolchain.known import known_components
from tests.e2e.forked import forked_guest

pytestmark = pytest.mark.e2e

FOLDER = "C:\\lab\\relay"
NOT_SUPPORTED = 50
FILE_NOT_FOUND = 2


@pytest.fixture
def guest() -> Iterator[LiveGuest]:
    with forked_guest("relay-free-guest") as guest:
        yield guest


def relayed_words(guest: LiveGuest, token: str) -> list[str]:
    """The messages of the print relay so far, in order."""
    end = guest.prints.mark(token, timeout=60)
    records = guest.prints.records_since(0)[:end]
    assert not [record for record in records if isinstance(record, FaultRecord)]
    return [r.text for r in records if isinstance(r, PrintRecord) and r.text.startswith("labrelay:")]


def test_the_relay_loads_reports_why_it_does_not_relay_and_unloads(guest: LiveGuest, tmp_path: Path) -> None:
    build_drivers(["relay", "relaymark"], "x64", tmp_path / "relay")
    guest.transport.put(tmp_path / "relay" / "labrelay.sys", f"{FOLDER}\\labrelay.sys")
    guest.transport.put(tmp_path / "relay" / "relaymark.exe", f"{FOLDER}\\relaymark.exe")
    relaymark = f"{FOLDER}\\relaymark.exe"
    assert guest.transport.run((relaymark, "t-0"), timeout=60, shell=False).exit_code == FILE_NOT_FOUND

    # As in an image of Windows, where the boot loader starts it; here it is started by hand.
    manifest = known_components()["relay"].manifest
    assert manifest.start == "boot"
    call = create_call("LabRelay", f"{FOLDER}\\labrelay.sys", group=manifest.load_order_group, start=manifest.start)
    guest.services.batch([call])[0].check()
    guest.services.start("LabRelay")
    assert guest.services.query("LabRelay").state == ServiceState.RUNNING
    [words] = relayed_words(guest, "after-the-start")
    assert "no DbgSetDebugPrintCallback" in words
    assert "not relayed" in words

    refused = guest.transport.run((relaymark, "t-1"), timeout=60, shell=False)
    assert refused.exit_code == NOT_SUPPORTED
    assert "the print relay refused the mark: Win32 error 50" in refused.error_text

    guest.services.stop("LabRelay")
    guest.services.wait_state("LabRelay", ServiceState.STOPPED)
    assert guest.services.query("LabRelay").exit_code in (0, NOT_ACTIVE)
    assert guest.transport.run((relaymark, "t-2"), timeout=60, shell=False).exit_code == FILE_NOT_FOUND
    # A second load begins anew, device and link included.
    guest.services.start("LabRelay")
    assert len(relayed_words(guest, "after-the-second-start")) == 2
    guest.services.remove("LabRelay")
    assert not guest.services.exists("LabRelay")
