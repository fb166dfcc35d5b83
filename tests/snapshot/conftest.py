"""Fixtures of the tests of templates and forks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.snapshot.forks import Forks
from tests.snapshot.fakes import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def forks(world: World) -> Iterator[Forks]:
    made = world.make()
    yield made
    made.close()
