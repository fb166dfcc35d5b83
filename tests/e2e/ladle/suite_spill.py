"""Crashes the driver on purpose: the counts of such a test are lost with the driver."""

from __future__ import annotations

import pytest

from lab.suite import DeviceReader

SPILL = 0x222008


@pytest.mark.lab_driver("ladle")
@pytest.mark.lab_expect_fault(0xC0000005)
def test_a_spill(reader: DeviceReader) -> None:
    reader.ioctl(SPILL)
