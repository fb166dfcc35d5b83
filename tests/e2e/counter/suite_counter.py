"""The tests of a counter's user."""

from __future__ import annotations

import pytest

from lab.suite import Client

pytestmark = pytest.mark.lab_driver("counter")

#: ERROR_ACCESS_DENIED, ERROR_INVALID_HANDLE; a handle of another type is the latter as well.
SEEN = """\
turned 5 regal
rung 0 0
refused 5 6 6
pppppppp
pccppppp
0 0 0 259
0cc0ppp0
refused 21
0 0 0 259
0cc00000
"""


def test_the_counter(lab_client: Client) -> None:
    done = lab_client("customer", timeout=60)
    assert (done.exit_code, done.text) == (0, SEEN)
