"""The report's content for readers, derived from ``run.json``: words, order, groups and times, without markup."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from lab.gate.verdict import Verdict
from lab.report.model import Attempt, DriverEntry, GuestEntry, PrintEntry, RateEntry, RunReport, TestEntry

#: Gravest first: how tests are ordered wherever red comes first.
ORDER: tuple[Verdict, ...] = ("crash", "product", "test", "infra", "known", "skipped", "passed")
RED: frozenset[Verdict] = frozenset({"crash", "product", "test", "infra"})

#: (singular, plural) for a number of tests.
WORDS: dict[Verdict, tuple[str, str]] = {
    "crash": ("crash", "crashes"),
    "product": ("product failure", "product failures"),
    "test": ("mistake in a test or a manifest", "mistakes in tests or manifests"),
    "infra": ("lab failure", "lab failures"),
    "known": ("known issue", "known issues"),
    "skipped": ("skipped", "skipped"),
    "passed": ("passed", "passed"),
}

#: The meaning of each verdict, for new readers.
MEANINGS: dict[Verdict, str] = {
    "crash": "the driver took its guest down",
    "product": "the driver does not do what is documented",
    "test": "the test's code is wrong, or the guest does not accept what a manifest gives it; this says nothing about the"
    " driver",
    "infra": "the lab failed; this says nothing about the driver",
    "known": "failed, but listed in the lab file with a reason and an end date",
    "skipped": "the guest lacks what the test needs, or Driver Verifier made its allocations fail",
    "passed": "the documented behaviour was observed",
}

#: The kinds of hang, see :mod:`lab.crash.hang`.
HANGS: dict[str, str] = {
    "soft": "its kernel still reacted to the debugger, so a thread waits for something",
    "hard": "its kernel did not react to the debugger either: interrupts are off, or a processor spins",
    "unknown": "there was no kernel debugger to ask its kernel",
}

#: A page with every print of a stress test would be too large to open; run.json has them all.
PRINTS_SHOWN = 200
#: The same for texts of megabytes; the limit of a print is smaller.
LONGEST_TEXT = 200_000
_LONGEST_PRINT = 10_000
#: A busy host may have any number of them, and a test's id any length.
_SECOND_RUNS_SHOWN = 10
_LONGEST_NAME = 300
#: The length that git uses in repositories of this size and larger ones.
_SHORT_COMMIT = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintRow:
    """A print as a table row. ``at`` and ``delta`` are seconds of the guest's clock, as text; see :class:`PrintEntry`."""

    sequence: int
    at: str
    delta: str
    who: str
    text: str
    by_kernel: bool = False
    unlike_nt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TestView:
    """A test, with all facts in words.

    ``prepared_s`` is the part of its duration for booting a guest and copying the drivers, because it was the first test that
    needed that guest.
    """

    __test__ = False

    entry: TestEntry
    anchor: str
    file: str
    name: str
    prints: Sequence[PrintRow]
    prints_left_out: int
    earlier: Sequence[Attempt]
    prepared_s: float

    @property
    def own_s(self) -> float:
        """Seconds of the test itself: without the start of its guest."""
        return max(0.0, self.entry.duration_s - self.prepared_s)

    @property
    def red(self) -> bool:
        """True when the test makes the run fail."""
        return self.entry.verdict in RED


def headline(report: RunReport) -> str:
    """The run in a few words: what is red, or that all is green."""
    red = [count_words(verdict, report.totals[verdict]) for verdict in ORDER if verdict in RED and report.totals.get(verdict)]
    left = [f"{len(report.not_run)} not run"] if report.not_run else []
    if red:
        return ", ".join([*red, *left])
    passed, total = report.totals.get("passed", 0), sum(report.totals.values()) + len(report.not_run)
    if not sum(report.totals.values()):
        return "No test was run" + (f": {total} were there" if total else "")
    if passed == total:
        return f"All {total} tests passed" if total > 1 else "The only test passed"
    rest = [count_words(verdict, report.totals[verdict]) for verdict in ("known", "skipped") if report.totals.get(verdict)]
    return f"{passed} of {total} tests passed, " + ", ".join([*rest, *left])


def driver_notes(report: RunReport) -> list[str]:
    """Notes about drivers beside their tests, one for each: for example, that Windows would not load them."""
    return [f"driver {driver.name}: {driver.windows}" for driver in report.drivers if driver.windows]


def second_runs(report: RunReport) -> list[str]:
    """Which tests were run again because their guest was starved, with figures: one sentence each, for the first of them."""
    noted = [test for test in report.tests if test.note]
    said = [f"{test.nodeid[:_LONGEST_NAME]} was {test.note}" for test in noted[:_SECOND_RUNS_SHOWN]]
    left = len(noted) - len(said)
    return [*said, f"{left} more tests were run again; the report has all of them"] if left else said


def rate_words(rate: RateEntry) -> str:
    """How often a repeated test passed: ``passed 17 of 20 runs, 85% (95% interval: 62% to 97%)``."""
    if not rate.failed:
        share = f"a pass rate of at least {rate.low:.0%}"
    else:
        share = f"{(rate.runs - rate.failed) / rate.runs:.0%} (95% interval: {rate.low:.0%} to {rate.high:.0%})"
    lost = f"; the lab failed in {rate.lost} more" if rate.lost else ""
    return f"passed {rate.runs - rate.failed} of {rate.runs} runs, {share}{lost}"


def unchecked(report: RunReport) -> list[str]:
    """What the run has not checked, one sentence each: tests that were not run, drivers that no test used."""
    said = []
    if report.not_run:
        count = len(report.not_run)
        noun = "1 test was" if count == 1 else f"{count} tests were"
        said.append(f"{noun} not run: {report.ended or 'the run ended before'}")
    ran = sum(report.totals.values())
    if ran and report.totals.get("skipped", 0) == ran:
        said.append(f"nothing was checked: {'the only test was' if ran == 1 else f'all {ran} tests were'} skipped")
    said += [f"nothing was checked of the driver {name}: {_why_unused(name, report)}" for name in report.unused_drivers]
    return said


def _why_unused(name: str, report: RunReport) -> str:
    """Why no test used a driver: its tests were skipped, may have been deselected, or there are none."""
    mine = [test for test in report.tests if name in test.drivers]
    if mine:
        missing = dict.fromkeys(test.missing_capability for test in mine if test.missing_capability)
        which = "its only test was" if len(mine) == 1 else f"its {len(mine)} tests were"
        return f"{which} skipped" + (f", because the guest lacks {', '.join(missing)}" if missing else "")
    if report.deselected:
        count = "1 test was" if report.deselected == 1 else f"{report.deselected} tests were"
        return f"no test that was selected used it, and {count} deselected"
    return f'no test of this run used it; its tests carry @pytest.mark.lab_driver("{name}")'


def count_words(verdict: Verdict, count: int) -> str:
    """``2 product failures``."""
    return f"{count} {WORDS[verdict][count != 1]}"


def driver_line(driver: DriverEntry) -> str:
    """One driver in one line."""
    return f"{driver.name}: SHA-256 {driver.sha256[:_SHORT_COMMIT]}…, {driver_facts(driver)}"


def driver_facts(driver: DriverEntry) -> str:
    """What distinguishes one build of a driver from another, for people: version, signer, commit."""
    signer = f"signed by {driver.signer}" if driver.signer else "not signed"
    commit = f"commit {driver.commit[:_SHORT_COMMIT]}" if driver.commit else "in no git repository"
    if driver.commit and driver.dirty:
        commit += ", with changes that are in no commit"
    parts = [f"version {driver.file_version}" if driver.file_version else "", signer, commit]
    return ", ".join(part for part in parts if part)


def view_tests(report: RunReport) -> list[TestView]:
    """All tests, red ones first, then in the order of their ids."""
    ordered = sorted(report.tests, key=lambda test: (ORDER.index(test.verdict), test.nodeid))
    guests = {guest.guest_id: guest for guest in report.guests}
    return [_test_view(test, f"t{number}", guests.get(test.guest_id or "")) for number, test in enumerate(ordered, 1)]


def by_file(tests: Sequence[TestView]) -> list[tuple[str, list[TestView]]]:
    """Tests grouped by file, both in the order of their names."""
    ordered = sorted(tests, key=lambda test: test.entry.nodeid)
    return [(file, list(group)) for file, group in groupby(ordered, key=lambda test: test.file)]


def skipped_groups(tests: Sequence[TestView]) -> list[tuple[str, bool, list[TestView]]]:
    """Skipped tests by (what is missing, whether that is a capability): capabilities first, then other reasons."""
    groups: dict[tuple[bool, str], list[TestView]] = {}
    for test in tests:
        if test.entry.verdict == "skipped":
            missing = test.entry.missing_capability
            groups.setdefault((missing is None, missing or test.entry.reason or "no reason given"), []).append(test)
    return [(reason, not other, found) for (other, reason), found in sorted(groups.items())]


def print_rows(prints: Sequence[PrintEntry]) -> list[PrintRow]:
    """Prints as rows, times counted from the first one that has a guest time."""
    first = next((entry.guest_time for entry in prints if entry.guest_time is not None), None)
    rows, before = [], None
    for entry in prints:
        now = entry.guest_time
        rows.append(
            PrintRow(
                sequence=entry.sequence,
                at="" if now is None or first is None else f"{now - first:.3f}",
                delta="" if now is None or before is None else f"+{now - before:.3f}",
                who=_who(entry),
                text=printable(shortened(entry.text, _LONGEST_PRINT)),
                by_kernel=entry.by_kernel,
                unlike_nt=entry.unlike_nt,
            )
        )
        before = now if now is not None else before
    return rows


def printable(text: str) -> str:
    """Text from a guest, with invisible characters as escapes, control and direction characters included."""
    shown = text.removesuffix("\n").removesuffix("\r")
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else _escape(char)
        for char in shown
    )


def shortened(text: str, most: int = LONGEST_TEXT) -> str:
    """Text cut in its middle if it is too long for a page; run.json has all of it."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters more in run.json …\n{text[-half:]}"


def seconds(value: float | None) -> str:
    """A duration for people: ``83 ms``, ``4.2 s``, ``3 min 05 s``."""
    if value is None:
        return "–"
    if value < 0.0995:
        return f"{value * 1000:.0f} ms"
    if value < 99.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s"


def _test_view(entry: TestEntry, anchor: str, guest: GuestEntry | None) -> TestView:
    file, _, name = entry.nodeid.partition("::")
    return TestView(
        entry=entry,
        anchor=anchor,
        file=file,
        name=name.replace("::", " › ") or file,
        prints=print_rows(entry.prints[:PRINTS_SHOWN]),
        prints_left_out=max(0, len(entry.prints) - PRINTS_SHOWN),
        earlier=entry.history[:-1],
        prepared_s=_prepared(entry, guest),
    )


def _prepared(entry: TestEntry, guest: GuestEntry | None) -> float:
    if guest is None or guest.started < entry.started:
        return 0.0
    ready = guest.started + (guest.boot_s or guest.wait_s or 0.0) + (guest.copy_s or 0.0)
    return min(ready - entry.started, entry.duration_s)


def _who(entry: PrintEntry) -> str:
    parts = [f"cpu {entry.cpu}" if entry.cpu is not None else "", entry.thread or ""]
    return " ".join(part for part in parts if part)


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
