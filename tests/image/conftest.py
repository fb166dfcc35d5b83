"""Fixtures of the image tests."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from lab.host.assets import data_root


@pytest.fixture(scope="session")
def printd() -> ModuleType:
    """The guest's print service, loaded from its file, as in the guest."""
    return load_guest_file("printd.py")


def load_guest_file(name: str) -> ModuleType:
    """A Python file of the guest as a module."""
    path = data_root() / "vm-images" / "wine" / "guest" / name
    spec = importlib.util.spec_from_file_location(f"guest_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
