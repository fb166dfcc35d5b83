"""A workbench without builds and guests: what each commit or build does is written down in the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.bisect.bisection import Bisection
from lab.bisect.builds import BuildSearch
from lab.bisect.model import BisectLog, Candidate, Plan, Result
from lab.bisect.place import read_log, save_log
from lab.bisect.search import Search
from lab.bisect.workbench import Built, NotBuilt
from lab.errors import HostToolError
from lab.gate.verdict import Verdict
from lab.report.model import Attempt, RunReport, TestEntry
from tests.compare.recording import recorded

NODEID = "suites/test_ring.py::test_the_ring"
SIGNATURE = "product AssertionError: assert ring.read() == 'hello'"
OTHER = "product ServiceError: the driver does not load [error 1275]"

#: What a run of the test ends with: verdict and signature.
Outcome = tuple[Verdict, str]
GREEN: Outcome = ("passed", "")
RED: Outcome = ("product", SIGNATURE)
ELSE: Outcome = ("product", OTHER)
LOST: Outcome = ("infra", "")
SKIPPED: Outcome = ("skipped", "")


@dataclass
class Spec:
    """What a candidate does.

    Attributes:
        outcomes: Of its runs, one after the other, and then from the begin again.
        content: Of its driver; the same content gives the same digest. Empty: its own.
        builds: It can be built.
    """

    outcomes: Sequence[Outcome] = (GREEN,)
    content: str = ""
    builds: bool = True


@dataclass
class Bench:
    """Builds and runs; see :mod:`lab.bisect.workbench`.

    Attributes:
        specs: By the id of the candidate.
        tests: Digest of the test files.
        others: More tests of the suite, with the outcome of their only run.
        before: Called before each build and each run; may raise, as a killed process ends.
    """

    specs: dict[str, Spec]
    tests: str = "t1"
    others: dict[str, Outcome] = field(default_factory=dict)
    before: Callable[[], None] = lambda: None
    built: list[str] = field(default_factory=list)
    ran: list[tuple[str, str, int, bool]] = field(default_factory=list)
    _endless: dict[str, Iterator[Outcome]] = field(default_factory=dict)

    def build(self, candidate: Candidate, into: Path, drivers: Sequence[str], /) -> Built:
        self.before()
        self.built.append(candidate.id)
        spec = self.specs[candidate.id]
        if not spec.builds:
            raise NotBuilt("ring.c:3: error: expected ';'")
        into.mkdir(parents=True)
        content = spec.content or candidate.id
        (into / "content").write_text(content, encoding="utf-8")
        (into / "candidate").write_text(candidate.id, encoding="utf-8")
        return Built(folder=into, digest=content)

    def run(
        self, drivers: Path, nodeid: str, count: int, into: Path, /, *, until_red: bool, root: str = ""
    ) -> RunReport | None:
        self.before()
        into.mkdir(parents=True)
        name, content = ((drivers / one).read_text(encoding="utf-8") for one in ("candidate", "content"))
        self.ran.append((name, nodeid, count, until_red))
        outcomes = self._endless.setdefault(content, _again(self.specs[name].outcomes))
        history = []
        for number in range(count):
            verdict, signature = next(outcomes)
            history.append(_attempt(number, verdict, signature))
            if until_red and verdict in ("product", "crash", "test", "known"):
                break
        tests = [_entry(NODEID, history)]
        if not nodeid:
            tests = [*(_entry(other, [_attempt(0, *outcome)]) for other, outcome in self.others.items()), *tests]
        return recorded(tests, root="/project").report

    def tests_digest(self) -> str:
        return self.tests


def _again(outcomes: Sequence[Outcome]) -> Iterator[Outcome]:
    while True:
        yield from outcomes


def _attempt(number: int, verdict: Verdict, signature: str) -> Attempt:
    reason = "" if verdict == "passed" else f"because of {signature or verdict}"
    return Attempt(verdict=verdict, reason=reason, signature=signature, duration_s=1.0, started=float(number))


def _entry(nodeid: str, history: Sequence[Attempt]) -> TestEntry:
    worst = next((one for one in history if one.verdict != "passed"), history[-1])
    return TestEntry(
        nodeid=nodeid,
        verdict=worst.verdict,
        reason=worst.reason,
        signature=worst.signature,
        duration_s=1.0,
        started=1.0,
        worker="gw0",
        drivers=["ring"],
        attempts=len(history),
        history=list(history) if len(history) > 1 else [],
    )


def candidates(count: int) -> list[Candidate]:
    """Builds b00, b01, …"""
    return [Candidate(id=f"b{number:02}", label=f"build {number}", slug=f"b{number:02}") for number in range(count)]


def host_failure() -> None:
    """The host fails."""
    raise HostToolError(["make"], None, message="no space left on device")


@dataclass
class Searching:
    """A search in a folder, with everything that a test may look at."""

    folder: Path
    bench: Bench
    log: BisectLog
    make_search: Callable[[], Search]
    lines: list[str] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    search: Search | None = None

    def run(self) -> Result:
        search = self.search = self.make_search()
        save = lambda: save_log(self.folder, self.log, "")  # noqa: E731
        return Bisection(self.log, search, self.bench, self.bench, self.folder, save=save, screen=self).run()

    def again(self) -> Searching:
        """The same search in a new process: nothing but the folder is left."""
        return Searching(self.folder, self.bench, read_log(self.folder), self.make_search)

    def say(self, text: str) -> None:
        self.lines.append(text)

    def doing(self, text: str) -> None:
        self.begun.append(text)

    @property
    def answers(self) -> dict[str, str]:
        return dict(self.log.answers())


def over_builds(
    folder: Path,
    specs: Sequence[Spec],
    *,
    repeat: int | None = None,
    any_failure: bool = False,
    confidence: float = 0.99,
) -> Searching:
    """A search over builds that do what the specs say."""
    row = candidates(len(specs))
    plan = Plan(repeat=repeat, confidence=confidence, any_failure=any_failure)
    log = BisectLog(kind="builds", started="2026-01-01T00:00:00Z", good=row[0], bad=row[-1], builds=row, plan=plan)
    bench = Bench({one.id: spec for one, spec in zip(row, specs, strict=True)})
    return Searching(folder, bench, log, lambda: BuildSearch(row))
