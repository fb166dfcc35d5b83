from __future__ import annotations

from pathlib import Path

import pytest

from tests.prints.relay.native import NativeRelay, build_native


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_native(tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="module")
def native(library: Path) -> NativeRelay:
    """The driver's encoder; for a writer, ``open`` it first."""
    return NativeRelay(library)
