"""Runs of which the report's tests make pages and tables."""

from __future__ import annotations

import pytest

from lab.report.model import RunReport
from tests.report.invented import invented_run


@pytest.fixture(scope="session")
def run() -> RunReport:
    """Sixty tests with something of everything; not to be changed, use model_copy."""
    return invented_run()
