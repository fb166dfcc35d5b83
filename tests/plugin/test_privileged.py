"""A privileged instruction in a guest without that privilege: whose fault it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lab.guest.lacks import PRIVILEGED
from lab.plugin.testrun import TestRun
from lab.prints.record import FaultRecord

PORT, GARBAGE = 0x7FFFF0A51040, 0x6C6C6C


@pytest.mark.parametrize(("address", "lacks", "faults"), [(PORT, PRIVILEGED, 0), (GARBAGE, "", 1)])
def test_only_a_drivers_own_instruction_is_the_guests_lack(address: int, lacks: str, faults: int) -> None:
    wishes: Any = SimpleNamespace(expected_fault=None, drivers=("a",), brought=())
    run = TestRun(nodeid="t", wishes=wishes, started=0.0, privileged_at=lambda where: where == PORT)
    record = FaultRecord(
        sequence=1, host_time=0.0, guest_time=0.0, code=0xC0000096, parameters=(address,), text="Unhandled", lacks=PRIVILEGED
    )
    window: Any = SimpleNamespace(records=[record], prints=[], complete=True, gaps=[])
    run.window = window
    assert run.lacks == lacks
    assert len(run.faults) == faults
