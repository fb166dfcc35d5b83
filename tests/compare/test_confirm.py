"""New red tests, run again on both drivers: how many, how often, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lab.compare.compare import compare, with_changes
from lab.compare.confirm import candidates, confirm
from lab.compare.model import Comparison, TestChange
from lab.gate.verdict import Verdict
from lab.report.model import Attempt, RunReport
from tests.compare.recording import OTHER_DRIVER, entry, recorded

#: Verdict of the n-th run (from 0) of a test on a driver.
Course = Callable[[int], Verdict]


def always(verdict: Verdict) -> Course:
    return lambda _number: verdict


class Host:
    """Runs tests again as their courses say."""

    def __init__(self, new: dict[str, Course], base: dict[str, Course], *, signature: str = "s") -> None:
        self.courses = (new, base)
        self.asked: list[tuple[list[str], int]] = []
        self._signature = signature
        self._runs: dict[tuple[int, str], int] = {}

    def __call__(self, nodeids: Sequence[str], count: int) -> tuple[RunReport | None, RunReport | None]:
        self.asked.append(([nodeid.rpartition("::")[2] for nodeid in nodeids], count))
        new, base = (self._report(side, nodeids, count) for side in (0, 1))
        return new, base

    def _report(self, side: int, nodeids: Sequence[str], count: int) -> RunReport:
        tests = []
        for nodeid in nodeids:
            name = nodeid.rpartition("::")[2]
            first = self._runs.get((side, name), 0)
            self._runs[side, name] = first + count
            verdicts = [self.courses[side][name](first + number) for number in range(count)]
            history = [
                Attempt(verdict=verdict, reason="", signature=self._signature, duration_s=1.0, started=float(number))
                for number, verdict in enumerate(verdicts)
            ]
            # As in a report of repeated tests, the order of the list is not that of the runs.
            test = entry(name, verdicts[0]).model_copy(update={"history": [*history[1:], history[0]]})
            tests.append(test)
        return recorded(tests).report


def confirmed(new: list[Verdict], host: Host, *, signatures: list[str] | None = None, old: Verdict = "passed") -> Comparison:
    """A comparison of tests t0, t1, … that passed in BASE and now have these verdicts, run again by a host."""
    names = [f"t{number}" for number in range(len(new))]
    signs = signatures or [f"s{number}" for number in range(len(new))]
    base = recorded([entry(name, old, signature="old") for name in names])
    after = [entry(name, verdict, signature=sign) for name, verdict, sign in zip(names, new, signs, strict=True)]
    result = compare(base, recorded(after, drivers=OTHER_DRIVER))
    return with_changes(result, confirm(result.changes, host, lambda _line: None), strict=False)


def only(result: Comparison) -> TestChange:
    [change] = result.changes
    return change


def test_a_failure_of_the_new_driver_alone_is_real() -> None:
    host = Host({"t0": always("product")}, {"t0": always("passed")})
    result = confirmed(["product"], host)
    change = only(result)
    assert change.change == "newly red"
    assert change.confirmation is not None
    assert (change.confirmation.outcome, change.confirmation.pairs) == ("real", 8)
    assert (change.confirmation.new_failed, change.confirmation.base_failed) == (8, 0)
    assert host.asked == [(["t0"], 8)]
    assert result.exit_code == 1


def test_a_crash_that_is_real_keeps_its_exit_code() -> None:
    assert confirmed(["crash"], Host({"t0": always("crash")}, {"t0": always("passed")})).exit_code == 3


def test_a_failure_of_both_drivers_is_not_of_this_change() -> None:
    result = confirmed(["product"], Host({"t0": always("product")}, {"t0": always("product")}))
    assert only(result).change == "not of this change"
    assert result.exit_code == 0


def test_a_test_that_the_change_brings_must_pass_on_the_new_driver() -> None:
    after = recorded([entry("t0", "product", signature="s")], drivers=OTHER_DRIVER)
    result = compare(recorded([entry("other", "skipped")]), after)
    changes = confirm(result.changes, Host({"t0": always("product")}, {"t0": always("product")}), lambda _line: None)
    confirmed_result = with_changes(result, changes, strict=False)
    change = only(confirmed_result)
    assert change.change == "newly red"
    assert change.confirmation is not None
    assert change.confirmation.outcome == "not of this change"
    assert confirmed_result.exit_code == 1


def test_a_test_that_fails_now_and_then_is_flaky() -> None:
    unsteady: Course = lambda number: "product" if number % 5 == 0 else "passed"  # noqa: E731
    host = Host({"t0": unsteady}, {"t0": lambda number: "product" if number % 5 == 3 else "passed"})
    result = confirmed(["product"], host)
    assert only(result).change == "flaky"
    assert result.exit_code == 0
    assert with_changes(result, result.changes, strict=True).exit_code == 1


def test_the_labs_failures_are_never_the_drivers_and_too_many_of_them_no_verdict() -> None:
    lost = confirmed(["product"], Host({"t0": always("infra")}, {"t0": always("passed")}))
    assert only(lost).change == "not judged"
    assert lost.exit_code == 10
    few = confirmed(["product"], Host({"t0": lambda n: "infra" if n < 3 else "product"}, {"t0": always("passed")}))
    change = only(few)
    assert change.confirmation is not None
    assert (change.confirmation.outcome, change.confirmation.pairs, change.confirmation.lost) == ("real", 8, 3)


def test_a_test_that_could_not_be_judged_is_run_again() -> None:
    result = confirmed(["infra"], Host({"t0": always("passed")}, {"t0": always("passed")}))
    assert only(result).change == "judged again"
    assert result.exit_code == 0
    red = confirmed(["infra"], Host({"t0": always("product")}, {"t0": always("passed")}))
    assert only(red).change == "newly red"
    assert red.exit_code == 1


def test_what_was_red_before_must_come_again_in_the_new_way() -> None:
    same = confirmed(["product"], Host({"t0": always("product")}, {"t0": always("product")}), old="product", signatures=["s"])
    assert only(same).change == "not of this change"

    class Other(Host):
        def _report(self, side: int, nodeids: Sequence[str], count: int) -> RunReport:
            self._signature = "s" if side == 0 else "old"
            return super()._report(side, nodeids, count)

    other = confirmed(["product"], Other({"t0": always("product")}, {"t0": always("product")}), old="product", signatures=["s"])
    assert only(other).change == "red in another way"
    assert other.exit_code == 1


def test_of_one_signature_two_tests_are_run_and_the_others_are_like_them() -> None:
    names = [f"t{number}" for number in range(5)]
    host = Host(dict.fromkeys(names, always("product")), dict.fromkeys(names, always("passed")))
    result = confirmed(["product"] * 5, host, signatures=["s"] * 5)
    assert host.asked == [(["t0", "t1"], 8)]
    assert {change.change for change in result.changes} == {"newly red"}
    likes = [change.confirmation.like.rpartition("::")[2] for change in result.changes if change.confirmation]
    assert likes == ["", "", "t0", "t0", "t0"]


def test_if_these_are_not_real_the_others_are_run_too() -> None:
    names = [f"t{number}" for number in range(3)]
    base = {"t0": always("product"), "t1": always("product"), "t2": always("passed")}
    host = Host(dict.fromkeys(names, always("product")), base)
    result = confirmed(["product"] * 3, host, signatures=["s"] * 3)
    assert host.asked == [(["t0", "t1"], 8), (["t2"], 8)]
    changes = {change.nodeid.rpartition("::")[2]: change.change for change in result.changes}
    assert changes == {"t0": "not of this change", "t1": "not of this change", "t2": "newly red"}


def test_what_is_decided_is_run_no_more() -> None:
    half: Course = lambda number: "product" if number % 2 else "passed"  # noqa: E731
    host = Host({"t0": always("product"), "t1": half}, {"t0": always("passed"), "t1": always("passed")})
    result = confirmed(["product", "product"], host)
    assert host.asked == [(["t0", "t1"], 8), (["t1"], 8)]
    assert {change.change for change in result.changes} == {"newly red"}


def test_a_run_without_a_report_loses_its_pairs() -> None:
    result = confirmed(["product"], lambda _nodeids, _count: (None, None))  # type: ignore[arg-type]
    assert only(result).change == "not judged"


def test_files_that_cannot_be_collected_are_no_candidates() -> None:
    broken = entry("x", "test").model_copy(update={"nodeid": "suites/test_broken.py"})
    result = compare(recorded([entry("a")]), recorded([entry("a", "product"), broken]))
    assert [change.nodeid for change in candidates(result.changes)] == [entry("a").nodeid]
