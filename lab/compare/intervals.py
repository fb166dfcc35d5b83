"""Intervals for how much durations changed. Both are order statistics: they assume no distribution.

- Many tests, one reading each: the median of the tests' ratios. Its interval is that of the sign test: the k-th smallest and
  k-th largest ratio, where fewer than k of n fair coins show heads with at most half of the error's probability.
- One test, several readings in each run: the shift of Hodges and Lehmann between the logarithms. Its interval is that of the
  test of Mann and Whitney: the k-th smallest and k-th largest of all differences (Conover, Practical Nonparametric Statistics,
  5.4), exact up to 20 readings, by the normal approximation above.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

_EXACT = 20


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate, and the interval around it."""

    middle: float
    low: float
    high: float

    def outside(self, low: float, high: float) -> bool:
        """Whether it has no value between these two."""
        return self.high < low or self.low > high


def median_interval(values: Sequence[float], confidence: float) -> Interval | None:
    """The median of the population that readings come from; None if they are too few for this confidence."""
    ordered, tail = sorted(values), (1 - confidence) / 2
    n, k, below = len(ordered), 0, 0.0
    while True:
        below += math.comb(n, k) / 2**n
        if below > tail or 2 * k >= n:
            break
        k += 1
    if k == 0:
        return None
    return Interval(statistics.median(ordered), ordered[k - 1], ordered[n - k])


def shift_interval(base: Sequence[float], new: Sequence[float], confidence: float) -> Interval | None:
    """How much larger readings of ``new`` are than those of ``base``; None if they are too few for this confidence."""
    differences = sorted(y - x for x in base for y in new)
    k = _rank(len(base), len(new), (1 - confidence) / 2)
    if k == 0:
        return None
    return Interval(statistics.median(differences), differences[k - 1], differences[len(differences) - k])


def _rank(m: int, n: int, tail: float) -> int:
    """The largest k such that U of Mann and Whitney is below k with at most the probability ``tail``."""
    if not m or not n:
        return 0
    if max(m, n) > _EXACT:
        deviation = math.sqrt(m * n * (m + n + 1) / 12)
        return max(0, math.floor(m * n / 2 + statistics.NormalDist().inv_cdf(tail) * deviation))
    counts, total = ways_of(m, n), math.comb(m + n, m)
    k, below = 0, 0
    while below + counts[k] <= tail * total:
        below += counts[k]
        k += 1
    return k


@cache
def ways_of(m: int, n: int) -> tuple[int, ...]:
    """In how many orders of m and n readings U has each value: the coefficients of the Gaussian binomial."""
    size = m * n + 1
    ways = [1] + [0] * (size - 1)
    for i in range(1, m + 1):
        for u in range(size - 1, n + i - 1, -1):
            ways[u] -= ways[u - n - i]
        for u in range(i, size):
            ways[u] += ways[u - i]
    return tuple(ways)
