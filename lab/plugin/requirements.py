"""What a test needs and this run's guests lack, found from markers, drivers and image before a guest is booted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.errors import LabError, SuiteError
from lab.guest import capability
from lab.guest.lacks import in_words
from lab.lease.borrowed import borrowed_lacks
from lab.lease.protocol import GuestSource
from lab.plugin.imports import DriverImports
from lab.plugin.markers import Wishes, unknown_driver
from lab.plugin.phases import Skip


class Requirements:
    """Compares what tests ask for with what the guests have.

    Args:
        source: Where the guests come from.
        imports: What the run's drivers import and the guest's kernel lacks.
        drivers: The run's drivers by name; empty where there is no guest.
    """

    def __init__(self, source: GuestSource, imports: DriverImports, drivers: Mapping[str, str]) -> None:
        self._source = source
        self._imports = imports
        self._drivers = drivers

    def check(self, wishes: Wishes) -> Skip | None:
        """Why a test must be skipped; None when it can be served.

        Raises:
            SuiteError: Its markers are wrong, or name a driver that the run does not have.
        """
        if wishes.wrong:
            raise SuiteError(wishes.wrong)
        missing = self._lacks(wishes)
        hopeless = () if missing else self._imports.hopeless(wishes.drivers)
        if missing or hopeless:
            return Skip(missing=(*missing, *hopeless), reason=self._sentence(missing, hopeless))
        wrong = unknown_driver(wishes, self._drivers) if self._drivers else ""
        if wrong:
            raise SuiteError(
                wrong, hint="correct the marker, or give the folder of that driver with --driver (pytest: --lab-driver)"
            )
        return None

    def will_skip(self, wishes: Wishes) -> bool:
        """Whether a test needs no guest because it will be skipped. Without any guests, the test reports that itself."""
        try:
            return self.lacking(wishes)
        except LabError:
            return True

    def lacking(self, wishes: Wishes) -> bool:
        """Whether the guest lacks something that a test or one of its drivers requires."""
        return bool(self._lacks(wishes)) or bool(self._imports.hopeless(wishes.drivers))

    def _lacks(self, wishes: Wishes) -> Sequence[str]:
        """Capabilities that a test needs and the guest does not have."""
        missing = capability.missing(wishes.needs, self._source.manifest.capabilities) if wishes.needs else ()
        return (*missing, *borrowed_lacks(self._source, fresh=wishes.fresh, smp=wishes.cpus, real_clock=wishes.real_clock))

    def _sentence(self, missing: Sequence[str], hopeless: Sequence[str]) -> str:
        if hopeless:
            return f"needs {', '.join(hopeless)}: {'; '.join(map(in_words, hopeless))}"
        noun = "capability" if len(missing) == 1 else "capabilities"
        return f"needs {noun} {', '.join(missing)}, which {self._source.manifest.guest} lacks"
