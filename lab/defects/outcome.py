"""What became of a defect: from the records of its runs, and of the run with the unchanged drivers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lab.defects.catalogue import Planted
from lab.defects.model import DefectEntry, Noticed
from lab.gate.verdict import Verdict
from lab.report.model import RunReport

_DRIVER: tuple[Verdict, ...] = ("crash", "product")
_UNJUDGED: tuple[Verdict, ...] = ("infra", "test")


@dataclass(slots=True)
class Trial:
    """A defect and the runs with it.

    Attributes:
        planted: The defect.
        tests: What the runs have recorded, in the order in which the tests ended.
        seconds: Host seconds of the runs.
        failed: Why a run left no report; empty if each did.
    """

    planted: Planted
    tests: list[Noticed] = field(default_factory=list)
    seconds: float = 0.0
    failed: str = ""

    def add(self, report: RunReport | None, *, began: float, seconds: float, log: str) -> None:
        """Take the results of a run.

        Args:
            report: Its report; None if it left none.
            began: When it was started, in seconds since the epoch.
            seconds: How long it took.
            log: Where its output is, for the reader.
        """
        self.seconds += seconds
        if report is None:
            self.failed = f"its run left no report; see {log}"
        elif report.ended and not any(test.verdict in _DRIVER for test in report.tests):
            self.failed = f"its run ended early: {report.ended}; see {log}"
        before = self.seconds - seconds
        noticed = [
            Noticed(
                nodeid=test.nodeid,
                verdict=test.verdict,
                reason=test.reason,
                signature=test.signature,
                seconds=test.duration_s,
                after_s=round(before + test.started - began + test.duration_s, 3),
            )
            for test in (report.tests if report else ())
        ]
        self.tests += sorted(noticed, key=lambda one: one.after_s)

    def restart(self) -> None:
        """Forget what could not be judged, before another run of the same tests."""
        self.tests, self.failed = [], ""

    def catching(self, reference: Mapping[str, Verdict]) -> list[Noticed]:
        """The tests that are red with it, with a verdict that the catalogue expects.

        Args:
            reference: Test → its verdict with the unchanged drivers; a test that is not in it counts as green.
        """
        return [test for test in self._driver_red(reference) if test.verdict in self.planted.defect.verdict]

    def caught(self, reference: Mapping[str, Verdict]) -> bool:
        """Whether a test that the catalogue names is among them. Another red test may have failed of something else.

        Args:
            reference: See :meth:`catching`.
        """
        return any(test.nodeid in self.planted.defect.tests for test in self.catching(reference))

    @property
    def lost(self) -> bool:
        """Whether a run failed, or a test could not be judged: another run may tell."""
        return bool(self.failed) or any(test.verdict in _UNJUDGED for test in self.tests)

    def entry(self, reference: Mapping[str, Verdict], *, folder: str) -> DefectEntry:
        """The report's entry.

        Args:
            reference: See :meth:`catching`.
            folder: Of the runs, relative to that of the report.
        """
        seen = {"tests": self.tests, "seconds": round(self.seconds, 3), "folder": folder}
        if self.caught(reference):
            caught = [test.nodeid for test in self.catching(reference)]
            return entry_of(self.planted, outcome="caught", caught_by=caught, **seen)
        red = self._driver_red(reference)
        named = [test for test in red if test.nodeid in self.planted.defect.tests]
        if red:
            first = (named or red)[0]
            words = f"{first.nodeid} is {first.verdict}: {first.reason}"
            words += "" if named else f"; not red: {', '.join(self.planted.defect.tests)}"
            return entry_of(self.planted, outcome="another verdict" if named else "another test", reason=words, **seen)
        if words := self._unjudged(reference):
            return entry_of(self.planted, outcome="not judged", reason=words, **seen)
        return entry_of(self.planted, outcome="survived", **seen)

    def _driver_red(self, reference: Mapping[str, Verdict]) -> list[Noticed]:
        """Tests that are green without the defect, and red with it because of the driver."""
        return [test for test in self.tests if test.verdict in _DRIVER and reference.get(test.nodeid, "passed") == "passed"]

    def _unjudged(self, reference: Mapping[str, Verdict]) -> str:
        """Why nothing can be said of the defect; empty if tests were run and stayed green."""
        if self.failed:
            return self.failed
        for test in self.tests:
            if test.verdict in _UNJUDGED:
                return f"{test.nodeid} is {test.verdict}: {test.reason}"
        for nodeid in self.planted.defect.tests:
            if (verdict := reference.get(nodeid)) not in ("passed", None):
                return f"without the defect, {nodeid} is {verdict}"
        ran = {test.nodeid for test in self.tests if test.verdict == "passed"}
        if not ran.intersection(self.planted.defect.tests):
            return f"none of the tests that must notice it ran: {', '.join(self.planted.defect.tests)}"
        return ""


def unseen(planted: Planted, why: str) -> DefectEntry:
    """The entry of a defect that the guest cannot show."""
    return entry_of(planted, outcome="not on this guest", reason=why)


def entry_of(planted: Planted, **found: object) -> DefectEntry:
    """An entry with what the catalogue says about the defect."""
    defect = planted.defect
    said = {
        "name": defect.name,
        "driver": planted.driver,
        "what": defect.what,
        "fact": defect.fact,
        "expected": list(defect.verdict),
        "first": list(defect.tests),
    }
    return DefectEntry.model_validate({**said, **found})


def first_tests(defects: Sequence[Planted]) -> list[str]:
    """The tests that defects name, each once, in their order."""
    return list(dict.fromkeys(test for planted in defects for test in planted.defect.tests))
