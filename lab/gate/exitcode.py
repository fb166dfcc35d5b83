"""The exit code of a run.

| code | when |
|---|---|
| 0 | something was checked, and every test passed, is known, or was skipped for a named reason |
| 1 | ``product``: at least one test shows that a driver is wrong |
| 2 | usage: an option, or a file that was given (lab file, manifest, driver), is wrong; nothing was started |
| 3 | ``crash``: at least one test took its guest down |
| 4 | ``test``: the code of a test or of a suite that cannot be collected, or what a manifest gives a guest, is wrong |
| 5 | nothing, or not everything, was checked: no test, all skipped, some not run, a named driver unused, too few lines ran |
| 10 | ``infra``: at least one test could not be judged, because the lab failed |
| 128 + N | signal N ended the run early (130: Ctrl-C); the verdicts of what ran are in the report |

When verdicts are mixed the gravest for the driver wins: crash, then product, then test, then infra, then nothing. Nothing is
worse than a crash, and a finding about the driver counts even if other tests could not be judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

OK = 0
PRODUCT = 1
USAGE = 2
CRASH = 3
TEST = 4
NOTHING = 5
INFRA = 10

#: In the order in which they win.
_ORDER = (("crash", CRASH), ("product", PRODUCT), ("test", TEST), ("infra", INFRA))
_CHECKED = ("passed", "known")
#: What shells add to the number of a signal.
_SIGNALLED = 128
_SIGINT = 2
_PYTEST_FAILED, _PYTEST_INTERNAL, _PYTEST_USAGE = 1, 3, 4
#: pytest's exit codes that say nothing about a session beyond its tests: passed, failed, stopped, none.
_PYTEST_OWN = (0, 1, 2, 5)


def exit_code(totals: Mapping[str, int]) -> int:
    """Return the exit code that the verdicts of a run call for.

    Args:
        totals: Verdict -> number of tests; absent verdicts count as zero.
    """
    red = next((code for verdict, code in _ORDER if totals.get(verdict, 0)), None)
    if red is not None:
        return red
    return OK if any(totals.get(verdict, 0) for verdict in _CHECKED) else NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """What is known of a run when it has ended.

    Attributes:
        totals: Verdict -> number of tests.
        pytest_code: pytest's exit code; negative when a signal ended it.
        signal: Number of the signal that ended the run early; 0 without one.
        stopped_by: What ended pytest's session early: see :class:`lab.report.sessionfile.SessionFacts`.
        suites_fault: The internal error that ended it came out of a suite's own hook.
        unexplained: Number of tests that failed in pytest and have no red verdict.
        failed: Number of tests that failed in pytest.
        not_run: Number of selected tests that the run did not reach
        no_guest_by: Who caused that no guest is available, if so; see :class:`lab.report.sessionfile.SessionFacts`.
    """

    totals: Mapping[str, int]
    pytest_code: int = 0
    signal: int = 0
    stopped_by: str = ""
    suites_fault: bool = False
    unexplained: int = 0
    failed: int = 0
    not_run: int = 0
    no_guest_by: str = ""


def run_code(end: RunEnd) -> int:
    """Return the exit code of a whole run.

    The verdicts decide; if they are green, or there are none, pytest's own result does.
    """
    if end.signal or end.stopped_by == "interrupt":
        return _SIGNALLED + (end.signal or _SIGINT)
    code = exit_code(end.totals)
    if code not in (OK, NOTHING):
        return code
    if end.no_guest_by:
        return USAGE if end.no_guest_by == "usage" else INFRA
    if end.pytest_code < 0 or end.unexplained:
        return INFRA
    if end.stopped_by == "internal error" or end.pytest_code == _PYTEST_INTERNAL:
        return TEST if end.suites_fault else INFRA
    if end.stopped_by == "exit":
        return TEST  # a suite called pytest.exit(); the lab never does
    if code == NOTHING and end.pytest_code == _PYTEST_USAGE:
        return USAGE
    if end.pytest_code in _PYTEST_OWN and not (end.pytest_code == _PYTEST_FAILED and not end.failed):
        return NOTHING if end.not_run else code
    # A plugin or a hook of the suites, such as a limit of coverage, has failed the run although no test failed.
    return TEST


def complete_code(code: int, *, unused: bool, not_run: int = 0, uncovered: bool = False, uncounted: bool = False) -> int:
    """The exit code of a run with regard to what was left out: a run that left something out is not green.

    Args:
        code: The exit code by the verdicts and pytest.
        unused: Drivers that were named for the run and that no test used count, see :func:`unused_counts`.
        not_run: Number of selected tests that the run did not reach
        uncovered: Fewer lines of the drivers ran than were asked for.
        uncounted: The lab could not count the lines of the drivers.
    """
    if uncounted and code in (OK, NOTHING):
        return INFRA
    return NOTHING if code == OK and (unused or not_run or uncovered) else code


def comparison_code(changes: Sequence[tuple[str, str]], *, strict: bool = False) -> int:
    """The exit code of a comparison with an earlier run: what is worse than there decides, in the order of :data:`_ORDER`.

    A test that was red there in the same way, and one that is flaky, is no change.

    Args:
        changes: (change, verdict of the new run) of each test; see :mod:`lab.compare.changes`.
        strict: A flaky test counts by its verdict, or as ``product`` if it passed at last.
    """
    totals: Counter[str] = Counter()
    for change, verdict in changes:
        if change == "not judged":
            totals["infra"] += 1
        elif change in ("newly red", "red in another way") or (change == "flaky" and strict):
            # A flaky test may have passed at last, and one that the lab could not judge may be red when it is run again.
            totals[verdict if verdict in ("crash", "product", "test") else "product"] += 1
    red = exit_code(totals)
    if red != NOTHING:
        return red
    return NOTHING if any(change in ("not run", "newly skipped") for change, _ in changes) else OK


def gated_code(code: int, totals: Mapping[str, int], compared: int) -> int:
    """The exit code of a run that is compared with a baseline: the comparison decides about verdicts, and about nothing else.

    Args:
        code: That of the run.
        totals: Verdict -> number of tests.
        compared: That of the comparison.
    """
    if code > _SIGNALLED:
        return code
    if compared != OK:
        return compared
    # What is red for the run as well as in the baseline is no change; a suite's own hook that failed the run still has.
    return OK if code == exit_code(totals) and code != NOTHING else code


def unused_counts(unused: Sequence[str], named: Sequence[str], *, in_lab_file: bool) -> bool:
    """Whether drivers that no test used mean that nothing was checked.

    A user who names a driver for a run wants it tested. A lab file lists the drivers of all runs: there, one of them is enough.

    Args:
        unused: Named drivers that no test used.
        named: All that were named.
        in_lab_file: It is the lab file that names them.
    """
    return bool(unused) and (not in_lab_file or len(unused) == len(named))


def meaning(code: int) -> str:
    """Say an exit code in words."""
    words = {
        OK: "all tests passed (or are known, or were skipped for a named reason)",
        PRODUCT: "the driver is wrong",
        USAGE: "an option or an input file is wrong; no test ran",
        CRASH: "the driver took a guest down",
        TEST: "the tests' own code is wrong, or the guest does not accept what a manifest gives it; these tests"
        " say nothing about the driver",
        NOTHING: "not everything was checked: tests did not run, were skipped, or did not use the driver that was named, or too"
        " few lines of the drivers ran",
        INFRA: "the lab failed; these tests say nothing about the driver",
    }
    if code > _SIGNALLED:
        return "the run was interrupted; tests that did not run are listed"
    return words.get(code, f"unknown exit code {code}")
