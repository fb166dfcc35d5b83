"""The program whose lines are counted, compiled once."""

from __future__ import annotations

import pytest

from tests.coverage.counting import Counting, build


@pytest.fixture(scope="session")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Counting:
    return build(tmp_path_factory.mktemp("counting"))
