"""Machine types of QEMU: names with a version, and how long QEMU keeps them."""

from __future__ import annotations

import datetime

import pytest

from lab.host.accel import QEMU
from lab.host.qemumachines import MachineType, MachineVersion, ask_machines, version_of, versioned

KNOWN = (MachineType(name="pc-q35-9.1", alias="q35"), MachineType(name="pc-q35-9.0"), MachineType(name="microvm"))


@pytest.mark.parametrize(
    ("machine", "found"),
    [
        ("q35,hpet=off,vmport=off", "pc-q35-9.1,hpet=off,vmport=off"),
        ("q35", "pc-q35-9.1"),
        ("pc-q35-9.0,hpet=off", "pc-q35-9.0,hpet=off"),
        ("microvm", "microvm"),
        ("pc", "pc"),
    ],
)
def test_a_name_without_a_version_becomes_the_one_it_stands_for(machine: str, found: str) -> None:
    assert versioned(machine, KNOWN) == found


@pytest.mark.parametrize(
    ("machine", "version"),
    [("pc-q35-7.2,hpet=off", "7.2"), ("pc-i440fx-10.0", "10.0"), ("q35,hpet=off", "None"), ("pc-q35-rhel9.6.0", "None")],
)
def test_the_version_is_that_of_the_name(machine: str, version: str) -> None:
    assert str(version_of(machine)) == version


def test_qemu_keeps_a_machine_type_for_eighteen_releases() -> None:
    version = MachineVersion(7, 2)
    assert (str(version.deprecated_in), str(version.deleted_in)) == ("10.2", "13.2")
    assert version.released == datetime.date(2022, 12, 1)
    assert MachineVersion(10, 0).released == datetime.date(2025, 4, 1)
    assert MachineVersion(2, 12).released is None
    assert MachineVersion(10, 0) < MachineVersion(10, 1) < MachineVersion(11, 0)


def test_the_qemu_of_this_host_says_what_q35_stands_for() -> None:
    known = ask_machines(QEMU)
    name = versioned("q35,hpet=off", known)
    assert version_of(name) is not None
    assert name.endswith(",hpet=off")
    assert name.partition(",")[0] in {one.name for one in known}
    assert not next(one for one in known if one.name == name.partition(",")[0]).deprecated
