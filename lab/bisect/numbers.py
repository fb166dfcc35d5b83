"""How many runs an answer needs.

A failure that shows in a share ``p`` of all runs is missed by ``n`` green runs with the probability ``(1 - p) ** n``. ``p`` is
not known. The bad end is run often enough to give an interval for it, and its lower end is used.

One red run with the signature is enough for *bad*. *Good* takes so many green runs that a bad commit is missed with at most
:data:`STEP_ERROR`. If one is missed all the same, the search ends too late: at a commit whose parent is bad, too. So the
parent is run again at the end, until it would have shown the failure with the confidence that the user asked for. The
confidence of the whole result is that of its parent, because whatever is older than a good commit is good.
"""

from __future__ import annotations

import math

from lab.bisect.model import Tally

#: The probability with which the answer *good* of a step may be wrong.
STEP_ERROR = 0.05
#: The default of --confidence.
CONFIDENCE = 0.99
#: Runs of the bad end. If all are red, the failure shows in more than 63 of 100 runs (95%), and four green runs are *good*.
FIRST = 8
#: Further ones if some of them are green, and again if none is red.
MORE = 16
#: The bad end is given up when it was green so often: a failure in more than 7 of 100 runs would have shown (95%).
MOST_AT_END = FIRST + 2 * MORE
#: More green runs than this are never asked for.
MOST = 300


def least_rate(tally: Tally) -> float:
    """The lower end of the 95% interval for how often the failure shows; 0 if it never did."""
    return tally.rate.interval()[0] if tally.red else 0.0


def missed(rate: float, green: int) -> float:
    """The probability that a failure with this rate does not show in so many runs."""
    return (1 - rate) ** green


def runs_for(rate: float, error: float) -> int:
    """How many green runs miss a failure with this rate with at most the probability ``error``; at least 1."""
    if rate >= 1:
        return 1
    if rate <= 0:
        return MOST
    # The logarithms of 0.5 ** 2 and 0.25 are not equal to the last bit.
    return min(MOST, max(1, math.ceil(round(math.log(error) / math.log1p(-rate), 9))))


def runs_left(tally: Tally) -> int:
    """How many more runs the rate of a bad commit needs; 0: its interval is narrow enough."""
    judged = tally.red + tally.green
    if judged < FIRST:
        return FIRST - judged
    if not tally.green:
        return 0
    return min(MORE, max(0, (FIRST + MORE if tally.red else MOST_AT_END) - judged))
