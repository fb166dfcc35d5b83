"""The properties that JUnit readers get."""

from __future__ import annotations

from lab.report.junit import user_properties
from lab.report.model import Fault, TestEntry


def test_a_test_carries_what_it_ran_on() -> None:
    entry = TestEntry(
        nodeid="t",
        verdict="crash",
        reason="boom",
        duration_s=1.0,
        started=1.0,
        worker="gw0",
        guest_id="gw0-1",
        drivers=["sync", "other"],
        fault=Fault(code="0xC0000005"),
    )
    assert user_properties(entry, guest="free guest", image_key="k", hashes={"sync": "9b", "async": "4e"}) == [
        ("lab_verdict", "crash"),
        ("lab_reason", "boom"),
        ("lab_guest", "free guest"),
        ("lab_image_key", "k"),
        ("lab_guest_id", "gw0-1"),
        ("lab_worker", "gw0"),
        ("lab_fault", "0xC0000005"),
        ("lab_driver_sha256_sync", "9b"),
    ]


def test_what_is_not_known_is_left_out() -> None:
    entry = TestEntry(nodeid="t", verdict="passed", duration_s=1.0, started=1.0, worker="master")
    names = [name for name, _ in user_properties(entry, guest="g", image_key="k", hashes={})]
    assert names == ["lab_verdict", "lab_guest", "lab_image_key", "lab_worker"]
