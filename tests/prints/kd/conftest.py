"""The bare-metal target, built once, and figures that are kept with a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.prints.kd.target.build import build_target


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_target(tmp_path_factory.mktemp("kd-target"))


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """Keeps a figure with the test: a property in JUnit's file."""
    return lambda name, value: request.node.user_properties.append((name, value))
