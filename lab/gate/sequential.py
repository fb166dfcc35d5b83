"""Whether a new red test is the driver's: it is run again on the new and the base driver, side by side, until this says stop.

A pair is one run on each driver. Four rules are asked after each pair, in this order:

1. *No verdict*: the lab failed in four pairs or more, and in more than half of all. Such pairs do not count for the others.
2. *Real*, or no difference, by Wald's sequential probability ratio test. Only pairs count in which one driver was red and the
   other one was not. If both drivers fail equally often, the new one is the red one in half of these pairs; the alternative is
   nine of ten. The errors are :data:`ALPHA` (a failure of both drivers is called real) and :data:`BETA`. With these, *real*
   takes eight pairs of which all count and the new driver alone is red.
3. *Not of this change*: the base driver is red so often that it fails in at least half of its runs (binomial test, 5%).
4. *Flaky*: the new driver passes so often that it fails in less than 15 of 100 runs (binomial test, 5%).

After :data:`MOST` pairs without a decision, and if the second rule finds no difference, the test is flaky if the new driver
passed at least once, else it is not of this change. (Wald, Sequential tests of statistical hypotheses, 1945.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import comb, log
from typing import Literal

from lab.gate.proportions import Rate

Outcome = Literal["real", "flaky", "not of this change", "no verdict"]

#: The probability that a failure that both drivers have equally often is called real.
ALPHA = 0.01
#: The probability that one with the rate of the alternative is called no difference, as far as this many pairs decide.
BETA = 0.05
#: The share of deciding pairs in which the new driver is the red one, under the alternative.
_ALTERNATIVE = 0.9
#: More pairs are not run.
MOST = 40
_FEW_LOST = 4
_TAIL = 0.05
_OFTEN, _RARELY = 0.5, 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Runs on both drivers, side by side.

    Attributes:
        both: Pairs in which both were red.
        only_new: In which the new driver alone was red.
        only_base: In which the base driver alone was red.
        neither: In which none was red.
        lost: In which the lab failed.
    """

    both: int = 0
    only_new: int = 0
    only_base: int = 0
    neither: int = 0
    lost: int = 0

    def add(self, new: bool | None, base: bool | None) -> Pairs:
        """With one more pair.

        Args:
            new: The new driver was red; None: the lab failed.
            base: The same of the base driver.
        """
        if new is None or base is None:
            return replace(self, lost=self.lost + 1)
        if new:
            return replace(self, both=self.both + 1) if base else replace(self, only_new=self.only_new + 1)
        return replace(self, only_base=self.only_base + 1) if base else replace(self, neither=self.neither + 1)

    @property
    def judged(self) -> int:
        """The pairs that count."""
        return self.both + self.only_new + self.only_base + self.neither

    @property
    def new(self) -> Rate:
        """How often the new driver was red."""
        return Rate(self.both + self.only_new, self.judged)

    @property
    def base(self) -> Rate:
        """How often the base driver was red."""
        return Rate(self.both + self.only_base, self.judged)


def decide(pairs: Pairs) -> Outcome | None:
    """What the pairs say; None: one more is needed. See the module's text."""
    if pairs.lost >= _FEW_LOST and pairs.lost > pairs.judged:
        return "no verdict"
    evidence = pairs.only_new * log(_ALTERNATIVE / 0.5) + pairs.only_base * log((1 - _ALTERNATIVE) / 0.5)
    if evidence >= log((1 - BETA) / ALPHA):
        return "real"
    if evidence <= log(BETA / (1 - ALPHA)):
        return _no_difference(pairs)
    base, new = pairs.base, pairs.new
    if base.failed and _at_least(base.failed, base.runs, _OFTEN) <= _TAIL:
        return "not of this change"
    if new.runs and 1 - _at_least(new.failed + 1, new.runs, _RARELY) <= _TAIL:
        return "flaky"
    return _no_difference(pairs) if pairs.judged >= MOST else None


def _no_difference(pairs: Pairs) -> Outcome:
    return "flaky" if pairs.new.failed < pairs.new.runs else "not of this change"


def _at_least(failed: int, runs: int, p: float) -> float:
    """The probability of so many failures, or more."""
    return sum(comb(runs, k) * p**k * (1 - p) ** (runs - k) for k in range(failed, runs + 1))
