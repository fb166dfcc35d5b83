"""docs/suites.md lists lines that exist, each with a reason; tests/e2e/test_coverage.py finds lines that it lacks."""

from __future__ import annotations

import re

import pytest

from lab.guest.capability import capabilities
from tests.ci.unreached import ROOT, unreached_lines


@pytest.mark.parametrize(("file", "line"), unreached_lines())
def test_a_listed_line_is_one_of_its_source(file: str, line: str) -> None:
    source = (ROOT / "driver" / file).read_text(encoding="utf-8")
    assert line in [one.strip() for one in source.splitlines()]


@pytest.mark.parametrize("why", unreached_lines().values())
def test_a_reason_names_a_capability_or_says_that_the_kernel_must_fail(why: str) -> None:
    named = [word for word in re.findall(r"`([a-z_]+)`", why) if word in capabilities()]
    assert named or "every guest" in why
