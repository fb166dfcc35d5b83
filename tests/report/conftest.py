"""Runs for the pages and tables of the report's tests."""

from __future__ import annotations

import pytest

from lab.report.model import RunReport
from tests.report.invented import invented_run


@pytest.fixture(scope="session")
def run() -> RunReport:
    """Sixty tests with something of every kind; not to be changed, use model_copy."""
    return invented_run()
