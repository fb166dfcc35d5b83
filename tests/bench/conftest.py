"""A bench over simulated guests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.fakes import FakeContext
from tests.simulated import SimulatedSource


@pytest.fixture
def context(tmp_path: Path) -> FakeContext:
    out = tmp_path / "out"
    out.mkdir()
    return FakeContext(source=SimulatedSource(tmp_path / "payload"), out=out)
