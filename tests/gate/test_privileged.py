"""Who is accused of a privileged instruction in a guest without that privilege."""

from __future__ import annotations

import pytest

from lab.gate.findings import Findings
from lab.guest.lacks import PRIVILEGED
from lab.prints.record import FaultRecord

PORT, GARBAGE = 0x7FFFF0A51040, 0x6C6C6C


@pytest.mark.parametrize(("address", "lacks", "faults"), [(PORT, PRIVILEGED, 0), (GARBAGE, "", 1)])
def test_a_privileged_instruction_excuses_only_the_driver_that_contains_it(address: int, lacks: str, faults: int) -> None:
    record = FaultRecord(
        sequence=1, host_time=0.0, guest_time=0.0, code=0xC0000096, parameters=(address,), text="Unhandled", lacks=PRIVILEGED
    )
    found = Findings(nodeid="t", started=0.0, records=[record], privileged_at=lambda where: where == PORT)
    assert found.lacks == lacks
    assert len(found.faults) == faults
