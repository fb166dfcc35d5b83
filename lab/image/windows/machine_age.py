"""What `lab image doctor` says of the machine type that an image names: does this host's QEMU have it, and for how long."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from lab.host.qemumachines import MachineType, version_of
from lab.image.kind import Finding

_DAYS_OF_A_YEAR = 365.25


def machine_finding(machine: str, known: Sequence[MachineType], now: datetime.datetime, again: str) -> Finding:
    """Whether an image's machine type is there, and how old it is.

    Args:
        machine: The image's, with its options.
        known: Those of this host's QEMU.
        now: The present time.
        again: The command that builds the image again.
    """
    name = machine.partition(",")[0]
    version = version_of(machine)
    if version is None:
        return Finding(
            "warning",
            f"it names its machine type without a version ({name}): with another QEMU, Windows finds other hardware",
            again,
        )
    found = next((one for one in known if one.name == name), None)
    if found is None:
        return Finding(
            "broken", f"this host's QEMU has no machine type {name}", f"{again}; or use a QEMU before {version.deleted_in}"
        )
    age = ""
    if version.released is not None:
        years = (now.date() - version.released).days / _DAYS_OF_A_YEAR
        age = f" of {version.released:%B %Y}, {years:.1f} years old"
    until = f"QEMU {version.deprecated_in} and later warn of it, and QEMU {version.deleted_in} does not have it any more"
    text = f"machine type {name}{age}; {until}"
    return (
        Finding("warning", f"{text}; this host's QEMU warns of it already", again) if found.deprecated else Finding("ok", text)
    )
