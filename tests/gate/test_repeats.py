"""What the runs of a repeated test say together."""

from __future__ import annotations

import pytest

from lab.gate.proportions import Rate
from lab.gate.repeats import deciding, passes
from lab.gate.verdict import Verdict


@pytest.mark.parametrize(
    ("verdicts", "index"),
    [
        (["passed"], 0),
        (["passed", "product", "passed", "product"], 1),
        (["product", "crash", "test"], 1),
        (["passed", "infra"], 0),
        (["infra", "infra", "passed"], 0),
        (["infra", "infra", "passed", "passed"], 2),
        (["infra", "infra", "infra", "product"], 3),
        (["infra"], 0),
        (["skipped", "skipped"], 0),
        (["passed", "known"], 1),
    ],
)
def test_the_first_of_the_gravest_decides_and_the_lab_rarely(verdicts: list[Verdict], index: int) -> None:
    assert deciding(verdicts) == index


def test_a_rate_counts_what_could_be_judged() -> None:
    assert passes(["passed", "product", "infra", "skipped", "known"]) == Rate(2, 3)
    assert passes(["infra", "skipped"]) is None
