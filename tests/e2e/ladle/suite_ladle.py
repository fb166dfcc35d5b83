"""Uses the driver in ways whose lines are counted by hand in tests/e2e/test_coverage.py."""

from __future__ import annotations

import pytest

from lab.suite import DeviceReader, PrintStream

POUR = 0x222000
OTHER = 0x222004


@pytest.mark.lab_driver("ladle")
class TestFresh:
    """Each test loads the driver anew."""

    def test_a_little(self, reader: DeviceReader, prints: PrintStream) -> None:
        assert reader.ioctl(POUR, bytes([1, 2, 3])).error == 0
        prints.expect(["ladle: 6"])

    def test_too_much(self, reader: DeviceReader, prints: PrintStream) -> None:
        assert reader.ioctl(POUR, bytes([60, 60])).error != 0
        prints.expect(["ladle: too much"])


@pytest.mark.lab_driver("ladle", reload=False)
class TestKept:
    """One load for both tests."""

    def test_nothing(self, reader: DeviceReader, prints: PrintStream) -> None:
        assert reader.ioctl(POUR).error == 0
        prints.expect(["ladle: 0"])

    def test_another_code(self, reader: DeviceReader) -> None:
        for _ in range(3):
            assert reader.ioctl(OTHER).error == 1
