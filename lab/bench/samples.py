"""The results of a measure: series of readings, and their statistics."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Unit = Literal["s", "MiB", "MB/s", "prints/s", "prints"]
#: With fewer readings than this a 95th percentile means little: the largest one is shown instead.
ENOUGH_FOR_P95 = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Readings of one thing.

    Attributes:
        key: Names it in budgets and in ``bench.json``: ``winrm.lab``.
        label: Names it for people.
        unit: Of each value; ``MB`` is a million bytes, ``MiB`` 2**20.
        values: The readings in the order in which they were taken; at least one.
        reference: Key of the series of the same measure that this one is compared with; empty for none.
        higher_is_better: For rates.
        baseline: A figure that the lab's own is compared with: of another way, or of another tool.
        estimated: Only a part was measured, and the values were extrapolated to the whole.
        note: What a reader must know to understand it.
    """

    key: str
    label: str
    unit: Unit
    values: tuple[float, ...]
    reference: str = ""
    higher_is_better: bool = False
    baseline: bool = False
    estimated: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse a series without readings: its figure would have no measurement."""
        if not self.values:
            raise ValueError(f"series {self.key} has no readings")

    @property
    def p50(self) -> float:
        """Median."""
        return percentile(self.values, 50)

    @property
    def p95(self) -> float:
        """95th percentile by the nearest rank."""
        return percentile(self.values, 95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """All that one measure found.

    Attributes:
        series: In the order in which they are shown.
        notes: Sentences that belong to the measure as a whole, for example what could not run here.
    """

    series: tuple[Series, ...]
    notes: tuple[str, ...] = ()


def percentile(values: Sequence[float], percent: float) -> float:
    """A percentile: the median as usual, any other one by the nearest rank, which is a real reading.

    Args:
        values: At least one.
        percent: Above 0, at most 100.
    """
    if percent == 50:
        return statistics.median(values)
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def speedup(reference: Series, other: Series) -> float:
    """How many times better ``other`` is than ``reference``, by medians; infinite when it took no time at all."""
    better, worse = (other.p50, reference.p50) if other.higher_is_better else (reference.p50, other.p50)
    return better / worse if worse else float("inf")
