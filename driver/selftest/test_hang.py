"""Run by `lab selftest hang`, which checks what is left of the hang: the first test is meant to fail."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.lab_driver("selftest")


def test_a_guest_answers_nothing_any_more(guest, reader):
    """Meant to be a hang, with all of its evidence."""
    if "nt_kernel" in guest.capabilities:
        reader.read(length=3)
    else:
        # Drivers of the free guest run in a process and cannot stop its kernel. To the lab, a guest without its network and
        # its channels looks the same: it answers nothing, and its kernel is there to react to an NMI.
        guest.machine.qmp.execute("set_link", {"name": "net0", "up": False})
        for index, _ in enumerate(guest.machine.spec.channels):
            guest.machine.qmp.execute("device_del", {"id": f"port{index}"})
        reader.read(length=8)


def test_the_next_guest_is_sound(reader):
    """The run goes on with a fresh guest."""
    assert reader.read(length=8)[0].text == "sound"
