"""What a measure brings home: series of readings, and the few statistics that are told about them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Unit = Literal["s", "MiB", "MB/s", "prints/s", "prints"]
#: Fewer readings than this have no 95th percentile worth a name: the largest of them stands in its place.
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
        baseline: What the lab's own ways are held against: a way around them, or what is not the lab's.
        estimated: The readings are of a part, and the values computed from them for the whole.
        note: What a reader must know to read it right.
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
        """Refuse a series without readings: it would be a figure that nobody took."""
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
    """A percentile: the median as everybody computes it, any other one by the nearest rank, which is a reading that was taken.

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
