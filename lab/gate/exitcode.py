"""The exit code of a run.

| code | when |
|---|---|
| 0 | something was checked, and every test passed, is known, or was skipped for a named reason |
| 1 | ``product``: at least one test shows that a driver is wrong |
| 2 | usage: an option, or a file that was given (lab file, manifest, driver), is wrong; nothing was started |
| 3 | ``crash``: at least one test took its guest down |
| 4 | ``test``: the code of at least one test, or of a suite that cannot be collected, is wrong |
| 5 | nothing was checked: no test was there, all were skipped, or a driver that was named was used by none |
| 10 | ``infra``: at least one test could not be judged, because the lab failed |
| 128 + N | signal N ended the run early (130: Ctrl-C); the verdicts of what ran are in the report |

When verdicts are mixed the gravest for the driver wins: crash, then product, then test, then infra, then nothing. A crash
hides nothing worse, and a finding about the driver stands whatever else could not be judged.
"""

from __future__ import annotations

from collections.abc import Mapping

OK = 0
PRODUCT = 1
USAGE = 2
CRASH = 3
TEST = 4
NOTHING = 5
INFRA = 10

#: In the order in which they win.
_ORDER = (("crash", CRASH), ("product", PRODUCT), ("test", TEST), ("infra", INFRA))
_CHECKED = ("passed", "known")


def exit_code(totals: Mapping[str, int]) -> int:
    """Return the exit code that the verdicts of a run call for.

    Args:
        totals: Verdict -> number of tests; absent verdicts count as zero.
    """
    red = next((code for verdict, code in _ORDER if totals.get(verdict, 0)), None)
    if red is not None:
        return red
    return OK if any(totals.get(verdict, 0) for verdict in _CHECKED) else NOTHING


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
    if code not in (OK, NOTHING) or pytest_code in (0, 5):
        return code
    if code == NOTHING and pytest_code == 4:
        return USAGE
    if code == NOTHING and pytest_code == 2:
        return TEST  # a suite that cannot be imported
    if code == OK and pytest_code in (1, 2) and (totals.get("known", 0) or repeated):
        # A known failure, and the first attempt of a test whose worker died, are failures for pytest all the same.
        return OK
    return INFRA


def meaning(code: int) -> str:
    """Say an exit code in words."""
    words = {
        OK: "all tests passed (or are known, or were skipped for a named reason)",
        PRODUCT: "the driver is wrong",
        USAGE: "what was asked for is wrong: an option, or a file that was given; nothing was tested",
        CRASH: "the driver took a guest down",
        TEST: "the tests' own code is wrong: nothing is said about the driver by the tests concerned",
        NOTHING: "nothing was checked: no test ran, or none used the driver that was named",
        INFRA: "the lab failed: nothing is said about the driver by the tests concerned",
    }
    if code > 128:
        return "the run was interrupted: the tests that had not run are listed as such"
    return words.get(code, f"unknown exit code {code}")
