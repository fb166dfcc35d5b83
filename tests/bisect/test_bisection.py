"""The whole search with invented builds: ends, skips, flaky failures, equal drivers, interruptions."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.bisect.ends import EndsWrong
from lab.bisect.schema import bisect_schema
from lab.bisect.show import result_lines
from lab.errors import ConfigError, HostToolError, LabError
from tests.bisect.bench import (
    ELSE,
    GREEN,
    LOST,
    NODEID,
    OTHER,
    RED,
    SIGNATURE,
    SKIPPED,
    Outcome,
    Searching,
    Spec,
    host_failure,
    over_builds,
)

THIRD = (GREEN, GREEN, RED)


def row(count: int, first_bad: int, outcomes: tuple[Outcome, ...] = (RED,)) -> list[Spec]:
    return [Spec(outcomes if number >= first_bad else (GREEN,)) for number in range(count)]


def test_it_finds_the_first_bad_build_and_looks_closer_at_it_and_at_the_one_before(tmp_path: Path) -> None:
    search = over_builds(tmp_path, row(12, 7))
    result = search.run()
    assert result.first_bad is not None
    assert (result.first_bad.id, [one.id for one in result.parents], result.exit_code) == ("b07", ["b06"], 0)
    assert search.log.target is not None
    assert (search.log.target.nodeid, search.log.target.signature) == (NODEID, SIGNATURE)
    assert search.log.tally_of("b07").red == search.log.tally_of("b11").red == 8
    # With 8 of 8 red runs, the failure shows in at least 63 of 100 runs.
    assert search.log.tally_of("b06").green == 5
    assert result.confidence == pytest.approx(1 - (1 - 0.025 ** (1 / 8)) ** 5)
    assert result.confidence >= 0.99
    asked = [step.candidate.id for step in search.log.steps]
    assert asked[:2] == ["b11", "b00"]
    assert sum(step.role == "step" for step in search.log.steps) <= 4
    assert search.begun[:3] == ["bad end: build 11", "good end: build 0", "step 1 of about 4: build 6"]


def test_a_step_takes_one_red_run_or_the_green_runs_that_the_rate_of_the_bad_end_asks_for(tmp_path: Path) -> None:
    search = over_builds(tmp_path, row(12, 7))
    search.run()
    steps = [step for step in search.log.steps if step.role == "step"]
    assert {step.tally.red for step in steps if step.answer == "bad"} == {1}
    assert {step.tally.green for step in steps if step.answer == "good"} == {4}


def test_repeat_is_the_number_of_runs_of_a_step_and_the_end_is_as_sure_as_without(tmp_path: Path) -> None:
    search = over_builds(tmp_path, row(12, 7), repeat=1)
    result = search.run()
    assert {step.tally.green for step in search.log.steps if step.role == "step" and step.answer == "good"} == {1}
    assert result.confidence >= 0.99


def test_a_failure_that_shows_one_time_in_three_is_found_with_more_runs(tmp_path: Path) -> None:
    search = over_builds(tmp_path, row(12, 4, THIRD))
    result = search.run()
    assert result.first_bad is not None
    assert result.first_bad.id == "b04"
    assert search.log.tally_of("b11").rate.runs == 24
    # 8 of 24: at least in 15.6 of 100 runs.
    assert search.log.tally_of("b03").green == 28
    assert result.confidence >= 0.99


def test_random_failures_one_time_in_three_are_found_again_and_again(tmp_path: Path) -> None:
    numbers = random.Random(7)
    wrong = 0
    for round_ in range(20):
        outcomes = tuple(RED if numbers.random() < 1 / 3 else GREEN for _ in range(500))
        bad = numbers.randrange(1, 12)
        (folder := tmp_path / str(round_)).mkdir()
        specs = [Spec(outcomes[number * 7 :] if number >= bad else (GREEN,)) for number in range(12)]
        result = over_builds(folder, specs).run()
        wrong += result.first_bad is None or result.first_bad.id != f"b{bad:02}"
    assert wrong == 0


def test_a_step_that_took_a_bad_build_for_good_is_found_at_the_end(tmp_path: Path) -> None:
    specs = row(12, 4)
    # Four green runs by chance; the fifth would have shown it.
    specs[4] = specs[5] = Spec((GREEN, GREEN, GREEN, GREEN, RED))
    search = over_builds(tmp_path, specs)
    result = search.run()
    assert result.first_bad is not None
    assert result.first_bad.id == "b04"
    assert any("was taken for good and is bad" in line for line in search.lines)


def test_a_build_that_does_not_build_is_skipped_and_blames_no_one(tmp_path: Path) -> None:
    specs = row(12, 7)
    specs[5] = Spec(builds=False)
    search = over_builds(tmp_path, specs)
    result = search.run()
    assert result.first_bad is not None
    assert (result.first_bad.id, result.exit_code) == ("b07", 0)
    assert search.answers.get("b05") in (None, "skip")


@pytest.mark.parametrize(
    ("spec", "why", "code"),
    [
        (Spec(builds=False), "it does not build (ring.c:3: error: expected ';')", 5),
        (Spec((ELSE,)), f"it fails in another way ({OTHER})", 5),
        (Spec((SKIPPED,)), "the test did not run (skipped: because of skipped)", 5),
        (Spec((LOST,)), "the lab failed (because of infra)", 10),
    ],
)
def test_what_cannot_be_tested_beside_the_first_bad_one_leaves_several(tmp_path: Path, spec: Spec, why: str, code: int) -> None:
    specs = row(12, 7)
    specs[5] = specs[6] = spec
    search = over_builds(tmp_path, specs)
    result = search.run()
    assert result.first_bad is None
    assert ([one.id for one in result.candidates], result.exit_code) == (["b05", "b06", "b07"], code)
    said = "\n".join(result_lines(search.log, result))
    assert said.count(why) == 2
    assert "build 7: bad" in said


def test_another_failure_is_bad_if_every_failure_counts(tmp_path: Path) -> None:
    specs = row(12, 7)
    specs[5] = specs[6] = Spec((ELSE,))
    result = over_builds(tmp_path, specs, any_failure=True).run()
    assert result.first_bad is not None
    assert result.first_bad.id == "b05"


def test_runs_that_the_lab_lost_are_repeated_and_never_count(tmp_path: Path) -> None:
    specs = [Spec((LOST, *spec.outcomes)) for spec in row(12, 7)]
    result = over_builds(tmp_path, specs).run()
    assert result.first_bad is not None
    assert result.first_bad.id == "b07"


def test_equal_drivers_are_tested_once(tmp_path: Path) -> None:
    specs = [Spec(spec.outcomes, content="old" if number < 7 else "new") for number, spec in enumerate(row(12, 7))]
    search = over_builds(tmp_path, specs)
    result = search.run()
    assert result.first_bad is not None
    assert result.first_bad.id == "b07"
    assert not any(step.runs for step in search.log.steps if step.role == "step")
    assert any("has the same bytes as that of build 0" in line for line in search.lines)
    assert {name for name, *_ in search.bench.ran} == {"b00", "b11"}


def test_ends_with_one_driver_are_refused(tmp_path: Path) -> None:
    specs = [Spec(spec.outcomes, content="same") for spec in row(3, 0)]
    with pytest.raises(EndsWrong, match="both ends give the same driver"):
        over_builds(tmp_path, specs).run()


@pytest.mark.parametrize(
    ("good", "bad", "error", "said"),
    [
        (Spec(), Spec(), EndsWrong, f"{NODEID} passes on the bad end build 2, in all of 40 runs"),
        (Spec((RED,)), Spec((RED,)), EndsWrong, "the good end build 0 has the failure, too: red in 1 of 1 runs"),
        (Spec((ELSE,)), Spec((RED,)), EndsWrong, "the good end build 0 cannot be tested"),
        (Spec(builds=False), Spec((RED,)), EndsWrong, "the good end build 0 cannot be tested: ring.c:3"),
        (Spec(), Spec(builds=False), EndsWrong, "the bad end build 2 cannot be tested: ring.c:3"),
        (Spec(), Spec((SKIPPED,)), EndsWrong, "all tests were skipped on the bad end"),
        (Spec(), Spec((LOST,)), LabError, "the lab failed on the bad end build 2"),
    ],
)
def test_ends_that_are_not_what_the_user_said(tmp_path: Path, good: Spec, bad: Spec, error: type[LabError], said: str) -> None:
    with pytest.raises(error, match=said) as caught:
        over_builds(tmp_path, [good, Spec(), bad]).run()
    assert type(caught.value) is error


@pytest.mark.parametrize("number", [6, 8])
def test_a_build_that_sometimes_fails_in_another_way_is_not_good(tmp_path: Path, number: int) -> None:
    specs = row(12, 9)
    specs[number] = Spec((ELSE, GREEN))
    search = over_builds(tmp_path, specs)
    result = search.run()
    [step] = [one for one in search.log.steps if one.candidate.id == f"b{number:02}"]
    assert (step.answer, step.kind, step.tally.green >= 4) == ("skip", "another failure", True)
    assert step.reason == f"{OTHER}, in {step.tally.other} of {step.tally.other + step.tally.green} runs"
    assert [one.id for one in result.candidates] == (["b09"] if number == 6 else ["b08", "b09"])
    assert result.exit_code == (0 if number == 6 else 5)


def test_a_build_with_the_bytes_of_one_that_fails_in_another_way_is_no_better(tmp_path: Path) -> None:
    specs = row(12, 9)
    specs[7] = specs[8] = Spec((ELSE, GREEN), content="odd")
    search = over_builds(tmp_path, specs)
    result = search.run()
    assert ([one.id for one in result.candidates], result.exit_code) == (["b07", "b08", "b09"], 5)
    assert "\n".join(result_lines(search.log, result)).count(f"it fails in another way ({OTHER}, in 4 of 8 runs)") == 2


def test_the_build_before_the_first_bad_one_is_not_good_if_it_fails_in_another_way_at_the_end(tmp_path: Path) -> None:
    specs = row(12, 7)
    specs[6] = Spec((GREEN, GREEN, GREEN, GREEN, ELSE))
    result = over_builds(tmp_path, specs).run()
    assert ([one.id for one in result.candidates], result.exit_code) == (["b06", "b07"], 5)


def test_the_build_before_the_first_bad_one_that_the_lab_loses_leaves_two(tmp_path: Path) -> None:
    specs = row(12, 7)
    specs[6] = Spec((*[GREEN] * 4, *[LOST] * 8))
    search = over_builds(tmp_path, specs)
    result = search.run()
    assert (result.first_bad, [one.id for one in result.candidates], result.exit_code) == (None, ["b06", "b07"], 10)
    assert "build 6: the lab failed" in "\n".join(result_lines(search.log, result))


def test_a_failure_too_rare_to_be_sure_of_blames_no_one(tmp_path: Path) -> None:
    rare = (*[GREEN] * 19, RED)
    search = over_builds(tmp_path, [*row(4, 9), Spec(rare), Spec(rare)])
    result = search.run()
    assert search.log.tally_of("b03").green == 300
    assert (result.first_bad, [one.id for one in result.candidates], result.exit_code) == (None, ["b03", "b04"], 5)
    said = "\n".join(result_lines(search.log, result))
    assert "build 3: red in 0 of 300 (95%: 0% to 1%), too few for a confidence of 99%" in said
    assert "build 4: bad" in said


def test_one_failure_is_followed_and_the_others_are_named(tmp_path: Path) -> None:
    search = over_builds(tmp_path, row(4, 2))
    search.bench.others = {"suites/test_ring.py::test_other": ELSE}
    search.bench.specs["b03"].outcomes = (("crash", SIGNATURE),)
    search.bench.specs["b02"].outcomes = (("crash", SIGNATURE),)
    result = search.run()
    assert search.log.target is not None
    assert search.log.target.nodeid == NODEID
    assert f"not looked for, but also red there: suites/test_ring.py::test_other: {OTHER}" in "\n".join(search.lines)
    assert {nodeid for _, nodeid, *_ in search.bench.ran[1:]} == {NODEID}
    assert result.first_bad is not None
    assert result.first_bad.id == "b02"


def test_a_test_that_fails_only_beside_others_cannot_be_searched(tmp_path: Path) -> None:
    search = over_builds(tmp_path, row(4, 2, (RED, *[GREEN] * 100)))
    search.bench.others = {"suites/test_ring.py::test_before": GREEN}
    with pytest.raises(EndsWrong, match="failed beside the other tests on the bad end build 3, and passed alone in all of 40"):
        search.run()


def test_a_known_failure_can_be_looked_for(tmp_path: Path) -> None:
    result = over_builds(tmp_path, row(5, 2, (("known", SIGNATURE),))).run()
    assert result.first_bad is not None
    assert result.first_bad.id == "b02"


def test_tests_that_change_during_a_search_end_it(tmp_path: Path) -> None:
    search = over_builds(tmp_path, row(12, 7))
    search.bench.before = lambda: setattr(search.bench, "tests", "t2") if len(search.bench.built) > 3 else None
    with pytest.raises(ConfigError, match="the test files or the lab file are not what they were"):
        search.run()
    search.bench.tests = "t1"
    search.bench.before = lambda: None
    found = search.again().run().first_bad
    assert found is not None
    assert found.id == "b07"


class _Killed(BaseException):
    """What a killed process has instead of an end."""


def _kill_after(count: int) -> Callable[[], None]:
    left = [count]

    def before() -> None:
        if not left[0]:
            raise _Killed
        left[0] -= 1

    return before


@pytest.mark.parametrize("outcomes", [(RED,), THIRD])
def test_it_goes_on_after_an_interruption_at_any_point(tmp_path: Path, outcomes: tuple[Outcome, ...]) -> None:
    specs = row(9, 5, outcomes)
    specs[4] = Spec(builds=False)
    specs[3] = Spec(content="b02")
    (tmp_path / "whole").mkdir()
    whole = over_builds(tmp_path / "whole", row(9, 5, outcomes))
    whole.run()
    points = len(whole.bench.built) + len(whole.bench.ran)
    for point in range(points + 1):
        (folder := tmp_path / str(point)).mkdir()
        search = over_builds(folder, row(9, 5, outcomes))
        search.bench.before = _kill_after(point)
        try:
            search.run()
        except _Killed:
            search.bench.before = lambda: None
            if (folder / "bisect.json").exists():
                search = search.again()
            search.run()
        assert search.log.result is not None
        assert search.log.result.first_bad is not None
        assert search.log.result.first_bad.id == "b05", point
        assert search.log.result.confidence >= 0.99


def test_a_failure_of_the_host_is_no_answer_and_the_search_goes_on_later(tmp_path: Path) -> None:
    search = over_builds(tmp_path, row(12, 7))
    search.bench.before = lambda: host_failure() if len(search.bench.built) == 3 else None
    with pytest.raises(HostToolError):
        search.run()
    search.bench.before = lambda: None
    again = search.again()
    found = again.run().first_bad
    assert found is not None
    assert found.id == "b07"
    assert sum(name == "b11" for name in search.bench.built) == 1, "the ends were not asked again"


def test_the_schema_is_that_of_the_models() -> None:
    text = (Path(__file__).parents[2] / "docs" / "bisect.schema.json").read_text(encoding="utf-8")
    assert text == bisect_schema(), "run: python -m lab.bisect.schema > docs/bisect.schema.json"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_row_of_builds_ends_with_the_first_bad_one_among_the_candidates(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    count = data.draw(st.integers(2, 40))
    bad = data.draw(st.integers(1, count - 1))
    cannot = data.draw(st.sets(st.integers(1, count - 2))) if count > 2 else set()
    specs = row(count, bad)
    for number in cannot:
        specs[number] = data.draw(st.sampled_from([Spec(builds=False), Spec((ELSE,)), Spec((LOST,))]))
    search: Searching = over_builds(tmp_path_factory.mktemp("row"), specs)
    result = search.run()
    left = [int(one.id[1:]) for one in result.candidates]
    assert bad in left
    assert left == list(range(left[0], left[-1] + 1))
    assert all(number in cannot for number in left[:-1])
    assert left[-1] not in cannot
    asked = [step.candidate.id for step in search.log.steps if step.role == "step"]
    assert len(asked) == len(set(asked)), "no build is asked for twice"
    if not cannot:
        assert len(asked) <= (count - 1).bit_length()
