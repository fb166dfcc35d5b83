"""The Windows driver policy: Windows 11 24H2 and later and Server 2025 stop trusting cross-signed drivers, in two steps.

Microsoft's page "The Windows Driver Policy" describes it. Since the updates of April 2026 such a Windows *evaluates*: a driver
that the policy does not allow loads, and event 3076 says so. After 100 hours of uptime and three restarts (a server: two) in
which no such driver was loaded, Windows *enforces* the policy by itself, and event 3077 reports each driver that was blocked.
`CiTool -lp -json` lists both as policies, by their identifiers, and says which of them is in force.

The guests of an image start from the same disk each time, so that their hours and restarts never add up: the state is that of
the image, until someone boots a copy of the image's disk with a network, or builds it from a newer ISO.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lab.image.kind import Finding
from lab.image.windows.files import RECORD
from lab.image.windows.image_record import ImageRecord, load_record

#: State → what it means for drivers, and whether it deserves a warning.
_MEANINGS = {
    "none": ("this Windows does not have it", False),
    "evaluation": ("cross-signed drivers load, and each load is an event 3076 of CodeIntegrity", True),
    "enforced": ("cross-signed drivers are blocked; a driver with a test signature is none of them", True),
}
_HINT = "docs/windows.md, Which drivers Windows trusts"


def policy_findings(folder: Path, record: ImageRecord) -> Iterator[Finding]:
    """What `lab image doctor` says of the policy in an image, and whether it changed since the image before.

    Args:
        folder: The image's folder.
        record: Its record.
    """
    state = record.acceptance.driver_policy
    if state in _MEANINGS:
        meaning, warn = _MEANINGS[state]
        text = f"policy for cross-signed drivers: {state} ({meaning})"
        yield Finding("warning" if warn else "ok", text, _HINT if warn else "")
    elif state:
        yield Finding("warning", "policy for cross-signed drivers: Windows did not say", _HINT)
    before = _before(folder, record)
    known = before.acceptance.driver_policy if before else ""
    if before and known and state and known != state:
        text = (
            f"the policy for cross-signed drivers changed: {known} in the image of {before.built:%Y-%m-%d}, {state} in this one"
        )
        yield Finding("warning", text, "run the suites on both images and compare the runs: `lab compare`")


def _before(folder: Path, record: ImageRecord) -> ImageRecord | None:
    """The record of the image of the same name that was built last before this one."""
    found = []
    for other in folder.parent.glob(f"{record.name}-*/{RECORD}"):
        try:
            one = load_record(other.parent)
        except (OSError, ValueError):
            continue  # its own findings report it
        if one.name == record.name and one.built < record.built:
            found.append(one)
    return max(found, key=lambda one: one.built, default=None)
