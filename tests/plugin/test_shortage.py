"""A run under Driver Verifier that fails allocations on purpose: what the guest has in force reaches the verdict."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(("check", "verdict"), [("low_resources", "skipped"), ("systematic", "skipped"), ("io", "product")])
def test_an_assertion_accuses_no_driver_whose_allocations_fail(inner: Any, check: str, verdict: str) -> None:
    inner.prepare(
        f"""real = source.boot
    def boot(*args, **more):
        from lab.live.verifier import InForce
        guest = real(*args, **more)
        guest.verifier = InForce(profile="own", way="now", checks=({check!r},), drivers=("sim.sys",))
        return guest
    source.boot = boot"""
    )
    inner.run(
        """
pytestmark = pytest.mark.lab_driver("sync")

def test_reads(reader):
    assert reader.read(length=20) == "refused"

def test_loads(reader):
    pass
"""
    )
    assert inner.verdicts == {"test_reads": verdict, "test_loads": "passed"}
    assert ("allocations were failed on purpose" in inner.test("test_reads").reason) == (verdict == "skipped")
