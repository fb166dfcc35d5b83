"""The imports of a run's drivers, compared with the exports of the guest's kernel before a guest is booted."""

from __future__ import annotations

from collections.abc import Sequence

from lab.errors import LabError
from lab.image.gaps import gap_lines, gaps_of
from lab.image.kernel import ImportGaps
from lab.lease.protocol import GuestSource
from lab.live.payload import Payload
from lab.toolchain.pool_tags import pool_tags
from lab.toolchain.privileged import may_be_privileged


class DriverImports:
    """The drivers of one run.

    Args:
        source: Where the guests come from.
    """

    def __init__(self, source: GuestSource) -> None:
        self._gaps: dict[str, ImportGaps] = {}
        self._privileged: dict[int, bool] = {}
        try:
            self._payload = source.payload
            self._kernel = source.manifest.kernel
        except LabError:
            self._payload, self._kernel = Payload(), None  # no guest can be started, and each test reports why
        #: File names of the drivers, in lower case.
        self.own = frozenset(package.image.name.lower() for package in self._payload.drivers.values())

    def privileged_at(self, address: int) -> bool:
        """Whether a privileged instruction at an address may belong to one of these drivers."""
        if address not in self._privileged:
            images = [package.image for package in self._payload.drivers.values()]
            self._privileged[address] = not images or any(may_be_privileged(image, address) for image in images)
        return self._privileged[address]

    def pool_tags_of(self, driver: str) -> tuple[str, ...]:
        """The pool tags with which the code of a driver allocates, by its name or file name; empty for a foreign driver."""
        for package in self._payload.drivers.values():
            if driver.lower() in (package.name.lower(), package.image.name.lower()):
                return pool_tags(package.image)
        return ()

    def hopeless(self, drivers: Sequence[str]) -> tuple[str, ...]:
        """Missing parts of the guest without which one of these drivers does not load, or misbehaves."""
        return tuple(dict.fromkeys(name for driver in drivers for name in self._of(driver).hopeless))

    def lines(self, drivers: Sequence[str]) -> list[str]:
        """Lines for the user about these drivers, see :func:`gap_lines`."""
        return [line for driver in drivers for line in gap_lines(driver, self._of(driver))]

    def _of(self, driver: str) -> ImportGaps:
        if self._kernel is None or driver not in self._payload.drivers:
            return ImportGaps()
        if driver not in self._gaps:
            self._gaps[driver] = gaps_of(self._payload.drivers[driver], self._kernel, own=self.own)
        return self._gaps[driver]
