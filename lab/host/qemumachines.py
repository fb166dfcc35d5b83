"""The machine types of a QEMU, and how long QEMU keeps them.

QEMU makes a versioned machine type, such as ``pc-q35-7.2``, with each of its three releases a year. It supports one for six
years, 18 releases: after nine of them it is deprecated, and then deleted (QEMU's page "Deprecated features"). A name without a
version, such as ``q35``, is the newest of them: with another QEMU the guest has other hardware.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass

from lab.host.qemumodels import ask_monitor

_VERSION = re.compile(r"-(\d+)\.(\d+)$")
#: Releases x.0, x.1 and x.2 are of April, August and December. Since 4.0 the major number is that of the year.
_MONTHS = (4, 8, 12)
_FIRST_MAJOR, _YEAR_OF_ZERO = 4, 2015
_DEPRECATED_AFTER, _DELETED_AFTER = 3, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineType:
    """A machine type of one QEMU.

    Attributes:
        name: Its name.
        alias: A name without a version that stands for it; empty for most.
        deprecated: QEMU warns of it.
    """

    name: str
    alias: str = ""
    deprecated: bool = False


@dataclass(frozen=True, slots=True, order=True)
class MachineVersion:
    """The version in a machine type's name.

    Attributes:
        major: 7 of ``pc-q35-7.2``.
        minor: 2 of it.
    """

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    @property
    def released(self) -> datetime.date | None:
        """The month of QEMU's release; None for one from before the present numbers."""
        if self.major < _FIRST_MAJOR or self.minor >= len(_MONTHS):
            return None
        return datetime.date(_YEAR_OF_ZERO + self.major, _MONTHS[self.minor], 1)

    @property
    def deprecated_in(self) -> MachineVersion:
        """The first QEMU that warns of it."""
        return MachineVersion(self.major + _DEPRECATED_AFTER, self.minor)

    @property
    def deleted_in(self) -> MachineVersion:
        """The first QEMU that does not have it any more."""
        return MachineVersion(self.major + _DELETED_AFTER, self.minor)


def ask_machines(qemu: str) -> tuple[MachineType, ...]:
    """The machine types of a QEMU.

    Args:
        qemu: The binary.

    Raises:
        HostToolError: It is missing, failed, or did not answer.
    """
    (answer,) = ask_monitor(qemu, [{"execute": "query-machines"}])
    return tuple(
        MachineType(name=str(item["name"]), alias=str(item.get("alias", "")), deprecated=item.get("deprecated") is True)
        for item in answer
    )


def versioned(machine: str, known: Sequence[MachineType]) -> str:
    """A machine type with its options, by the name that has a version.

    Args:
        machine: The type and its options: ``q35,hpet=off``.
        known: Those of the QEMU in use.

    Returns:
        ``pc-q35-7.2,hpet=off``; ``machine`` itself, where QEMU has no alias of this name.
    """
    name, comma, options = machine.partition(",")
    return next((f"{one.name}{comma}{options}" for one in known if one.alias == name), machine)


def version_of(machine: str) -> MachineVersion | None:
    """The version in the name of a machine type, with or without options; None: it has none."""
    found = _VERSION.search(machine.partition(",")[0])
    return MachineVersion(int(found[1]), int(found[2])) if found else None
