"""What the runs of a repeated test say together: which of them decides its verdict, and its pass rate."""

from __future__ import annotations

from collections.abc import Sequence

from lab.gate.proportions import Rate
from lab.gate.verdict import SEVERITY, Verdict

RED: frozenset[Verdict] = frozenset({"crash", "product", "test"})
_JUDGED: frozenset[Verdict] = frozenset({*RED, "known", "passed"})


def deciding(verdicts: Sequence[Verdict]) -> int:
    """Which run decides the verdict of a test: the first of the gravest.

    A run in which the lab failed says nothing about the driver. It decides only if none was red and more than half of all runs
    are such.

    Args:
        verdicts: Of all runs, in their order; at least one.

    Returns:
        The number of the run, from 0.
    """
    judged = [verdict for verdict in verdicts if verdict != "infra"]
    if RED.isdisjoint(judged) and 2 * len(judged) < len(verdicts):
        return verdicts.index("infra")
    return verdicts.index(min(judged, key=SEVERITY.index))


def passes(verdicts: Sequence[Verdict]) -> Rate | None:
    """How many of the runs that could be judged did not pass; None if none could. A known failure is one of them."""
    judged = [verdict for verdict in verdicts if verdict in _JUDGED]
    return Rate(sum(verdict != "passed" for verdict in judged), len(judged)) if judged else None
