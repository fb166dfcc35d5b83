"""Components that the fixtures of this folder write."""

from __future__ import annotations

from pathlib import Path

from lab.toolchain.manifest import Component, load_component


def tiny(folder: Path) -> Component:
    """The driver of ``driver_folder``."""
    return load_component(folder / "driver.yaml")
