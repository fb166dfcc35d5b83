"""The exit code of a run.

| code | when |
|---|---|
| 0 | every test passed, is known, or was skipped for a named reason |
| 1 | ``product``: at least one test shows that a driver is wrong |
| 2 | usage: something the user wrote is wrong, or no test was collected |
| 3 | ``crash``: at least one test took its guest down |
| 10 | ``infra``: at least one test could not be judged, because the lab failed |

When verdicts are mixed the gravest for the driver wins: crash, then product, then infra. A crash hides nothing worse, and
a finding about the driver stands whatever else the lab could not judge.
"""

from __future__ import annotations

from collections.abc import Mapping

OK = 0
PRODUCT = 1
USAGE = 2
CRASH = 3
INFRA = 10

#: In the order in which they win.
_ORDER = (("crash", CRASH), ("product", PRODUCT), ("infra", INFRA))


def exit_code(totals: Mapping[str, int]) -> int:
    """Return the exit code of a run.

    Args:
        totals: Verdict -> number of tests; absent verdicts count as zero.
    """
    if sum(totals.values()) == 0:
        return USAGE
    return next((code for verdict, code in _ORDER if totals.get(verdict, 0)), OK)


def combined_code(totals: Mapping[str, int], pytest_code: int, *, repeated: int = 0) -> int:
    """Return the exit code of a run of which pytest's own exit code is known, too.

    The verdicts decide, unless all of them are green (or there are none) and pytest knows better: a suite that cannot be
    imported, an internal error, a failure outside of every test.

    Args:
        totals: Verdict -> number of tests.
        pytest_code: pytest's exit code; negative when a signal ended it.
        repeated: Number of tests that were red in an earlier attempt than their last one.
    """
    code = exit_code(totals)
    if code not in (OK, USAGE) or pytest_code == 0:
        return code
    if code == USAGE and pytest_code in (2, 4, 5):
        # No test ran: a suite cannot be imported, wrong usage, nothing collected.
        return USAGE
    if code == OK and pytest_code in (1, 2) and (totals.get("known", 0) or repeated):
        # A known failure, and the first attempt of a test whose worker died, are failures for pytest all the same.
        return OK
    return INFRA


def meaning(code: int) -> str:
    """Say an exit code in words."""
    words = {
        OK: "all tests passed (or are known, or were skipped for a named reason)",
        PRODUCT: "the driver is wrong",
        USAGE: "nothing was tested: no test was collected, or what was asked for is wrong",
        CRASH: "the driver took a guest down",
        INFRA: "the lab failed: nothing is said about the driver by the tests concerned",
    }
    return words.get(code, f"unknown exit code {code}")
