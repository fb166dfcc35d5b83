"""What a number of failures among a number of runs says: exact intervals and an exact test, by whole numbers.

The figures are those of scipy (``binomtest(…).proportion_ci("exact")``, ``fisher_exact(…, "greater")``), which the lab does not
need as a dependency for three formulas; tests compare them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb, exp, lgamma, log, log1p

CONFIDENCE = 0.95
_STEPS = 60


@dataclass(frozen=True, slots=True)
class Rate:
    """Failures among runs.

    Attributes:
        failed: Number of failures.
        runs: Number of runs that could be judged.
    """

    failed: int
    runs: int

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """The interval of Clopper and Pearson for the probability of a failure: it never covers less than it says."""
        tail = (1 - confidence) / 2
        return lower_bound(self.failed, self.runs, tail), upper_bound(self.failed, self.runs, tail)


def lower_bound(failed: int, runs: int, tail: float) -> float:
    """The probability below which so many failures, or more, have at most the probability ``tail``."""
    if failed == 0:
        return 0.0
    return _root(lambda p: sum(_binomial(k, runs, p) for k in range(failed, runs + 1)) - tail)


def upper_bound(failed: int, runs: int, tail: float) -> float:
    """The probability above which so few failures, or fewer, have at most the probability ``tail``."""
    if failed >= runs:
        return 1.0
    return _root(lambda p: tail - sum(_binomial(k, runs, p) for k in range(failed + 1)))


def fisher(base: Rate, new: Rate) -> float:
    """Fisher's exact test, one-sided: how probable so many failures of ``new``, or more, are if both fail equally often."""
    total, failed = base.runs + new.runs, base.failed + new.failed
    ways = sum(
        comb(new.runs, k) * comb(base.runs, failed - k)
        for k in range(new.failed, min(new.runs, failed) + 1)
        if failed - k <= base.runs
    )
    return ways / comb(total, failed)


def _binomial(k: int, n: int, p: float) -> float:
    # By logarithms: the number of ways of a thousand runs is no float.
    return exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log1p(-p))


def _root(rising: Callable[[float], float]) -> float:
    """Where a rising function is zero between 0 and 1, by halving."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2
