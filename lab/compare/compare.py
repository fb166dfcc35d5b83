"""Two recorded runs, compared."""

from __future__ import annotations

from collections.abc import Sequence

from lab.compare.changes import compare_tests
from lab.compare.coverage import compare_coverage
from lab.compare.durations import compare_durations
from lab.compare.key import differences, key_of
from lab.compare.model import CHANGES, ComparedDriver, ComparedRun, Comparison, PrintChange, TestChange
from lab.compare.prints import compare_prints
from lab.compare.recorded import Recorded
from lab.gate.exitcode import comparison_code
from lab.report.model import RunReport


def compare(base: Recorded, new: Recorded, *, strict: bool = False) -> Comparison:
    """Compare two runs.

    Args:
        base: The older one, or the one that the other is held against.
        new: The newer one.
        strict: A flaky test counts as red.
    """
    changes = sorted(compare_tests(base.report, new.report), key=lambda change: CHANGES.index(change.change))
    prints = _prints(base.report, new.report)
    listed = {change.nodeid for change in changes}
    before, after = _hashes(base.report), _hashes(new.report)
    durations = compare_durations(base.report, new.report)
    return Comparison(
        base=_run(base),
        new=_run(new),
        key_differences=differences(key_of(base.report), key_of(new.report)),
        same_drivers=before == after,
        equal=not any(change.change != "still red" for change in changes)
        and not any(change.kind == "differs" for change in prints),
        unchanged=sum(test.nodeid not in listed for test in new.report.tests),
        changes=changes,
        prints=prints,
        durations=durations,
        coverage=compare_coverage(base.coverage, new.coverage),
        exit_code=comparison_code(_verdicts(changes), strict=strict),
    )


def with_changes(result: Comparison, changes: Sequence[TestChange], *, strict: bool) -> Comparison:
    """A comparison whose tests were run again.

    Args:
        result: The comparison.
        changes: See :func:`lab.compare.confirm.confirm`.
        strict: A flaky test counts as red.
    """
    ordered = sorted(changes, key=lambda change: CHANGES.index(change.change))
    return result.model_copy(update={"changes": ordered, "exit_code": comparison_code(_verdicts(ordered), strict=strict)})


def _verdicts(changes: Sequence[TestChange]) -> list[tuple[str, str]]:
    """What the exit code depends on: (change, verdict in NEW)."""
    return [(change.change, change.new.verdict if change.new is not None else "") for change in changes]


def _prints(base: RunReport, new: RunReport) -> list[PrintChange]:
    before = {test.nodeid: test for test in base.tests if test.verdict == "passed"}
    old_hashes, new_hashes = _hashes(base), _hashes(new)
    found = []
    for test in new.tests:
        old = before.get(test.nodeid)
        if old is None or test.verdict != "passed":
            continue
        used = {*old.drivers, *test.drivers}
        same = all(name in old_hashes and old_hashes[name] == new_hashes.get(name) for name in used)
        change = compare_prints(old, test, same_drivers=same)
        if change is not None:
            found.append(change)
    return found


def _hashes(report: RunReport) -> dict[str, str]:
    return {driver.name: driver.sha256 for driver in report.drivers}


def _run(run: Recorded) -> ComparedRun:
    report = run.report
    return ComparedRun(
        label=run.label,
        started=report.started,
        guest=report.guest,
        key=key_of(report),
        drivers=[ComparedDriver(name=d.name, sha256=d.sha256, commit=d.commit) for d in report.drivers],
        tests=len(report.tests),
        exit_code=report.exit_code,
    )
