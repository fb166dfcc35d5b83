"""What the doctor says of an image's machine type."""

from __future__ import annotations

import datetime

import pytest

from lab.host.qemumachines import MachineType
from lab.image.windows.machine_age import machine_finding

NOW = datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC)
KNOWN = (
    MachineType(name="pc-q35-9.2", alias="q35"),
    MachineType(name="pc-q35-7.2"),
    MachineType(name="pc-q35-4.2", deprecated=True),
    MachineType(name="pc-q35-2.12"),
)


@pytest.mark.parametrize(
    ("machine", "level", "said"),
    [
        (
            "pc-q35-7.2,hpet=off",
            "ok",
            "machine type pc-q35-7.2 of December 2022, 4.0 years old; QEMU 10.2 and later warn of it, and",
        ),
        ("pc-q35-9.2", "ok", "QEMU 15.2 does not have it any more"),
        ("pc-q35-4.2,hpet=off", "warning", "7.0 years old"),
        ("pc-q35-4.2,hpet=off", "warning", "this host's QEMU warns of it already"),
        ("pc-q35-2.12", "ok", "machine type pc-q35-2.12; QEMU 5.12"),
        ("pc-q35-6.0,hpet=off", "broken", "this host's QEMU has no machine type pc-q35-6.0"),
        ("q35,hpet=off", "warning", "without a version (q35)"),
    ],
)
def test_the_age_of_a_machine_type(machine: str, level: str, said: str) -> None:
    finding = machine_finding(machine, KNOWN, NOW, "lab image build x --iso PATH")
    assert finding.level == level
    assert said in finding.text
    assert bool(finding.hint) is (level != "ok")


def test_a_machine_type_that_is_gone_has_two_ways_out() -> None:
    finding = machine_finding("pc-q35-6.0", KNOWN, NOW, "lab image build x --iso PATH --force")
    assert finding.hint == "lab image build x --iso PATH --force; or use a QEMU before 12.0"
