"""The published async client against the documented run."""

from __future__ import annotations

import itertools

import pytest

from lab.plugin.fixtures import Client
from lab.prints.stream import PrintStream
from suites.helpers import Ticks

pytestmark = pytest.mark.lab_driver("async")


def test_the_published_client_prints_the_documented_three_lines(client: Client) -> None:
    run = client("async_reader").check()
    assert run.text.splitlines() == [f"缓存LyShark {c}: hello lyshark" for c in "ABC"]


def test_the_published_client_is_served_by_three_ticks_one_second_apart(
    client: Client, ticks: Ticks, prints: PrintStream
) -> None:
    client("async_reader").check()
    served = ticks(13, 13, 13)
    # Documented: 1.000 s and 1.001 s. Tolerance for guests whose clock or processor is emulated: 50 ms.
    assert [b.at - a.at for a, b in itertools.pairwise(served)] == pytest.approx([1.0, 1.0], abs=0.05)
    assert len({tick.irp for tick in served}) == 3
    prints.expect_none()
