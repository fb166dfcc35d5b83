"""What JUnit readers get of a test beside its outcome."""

from __future__ import annotations

from collections.abc import Mapping

from lab.report.model import TestEntry


def user_properties(entry: TestEntry, *, guest: str, image_key: str, hashes: Mapping[str, str]) -> list[tuple[str, str]]:
    """Properties of one test for ``report.user_properties``, from where pytest writes them into any family of JUnit XML.

    The fixture ``record_property`` would do the same with a warning (it is not made for the family xunit2), and properties of
    a whole suite do not come through with workers.

    Args:
        entry: The finished test.
        guest: The one-line description of the guest.
        image_key: Key of its image.
        hashes: Driver name -> SHA-256 of its image; those of the test's own drivers are taken.
    """
    found = {
        "lab_verdict": entry.verdict,
        "lab_reason": entry.reason,
        "lab_guest": guest,
        "lab_image_key": image_key,
        "lab_guest_id": entry.guest_id or "",
        "lab_worker": entry.worker,
        "lab_fault": entry.fault.code if entry.fault else "",
    }
    found |= {f"lab_driver_sha256_{name}": hashes[name] for name in entry.drivers if name in hashes}
    return [(name, value) for name, value in found.items() if value]
