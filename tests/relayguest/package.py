"""Installs the stand-in's kind of guest and its transport, as a package would: metadata in a folder on the path."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_ENTRY_POINTS = """
[driver_test_lab.guest_kinds]
stand-in = tests.relayguest.stand_in:KIND

[driver_test_lab.transports]
stand-in = tests.relayguest.stand_in:TRANSPORT
"""


def install(folder: Path) -> Path:
    """Write the metadata; the folder is then to be an item of ``sys.path``."""
    info = folder / "lab_stand_in-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-stand-in\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(_ENTRY_POINTS, encoding="utf-8")
    return folder


def settings(folder: Path) -> dict[str, str]:
    """Environment variables of the lab: its folders are below this one, and guests are reached by the stand-in's transport."""
    folders = {f"LAB_{name}": str(folder / name.lower()) for name in ("CACHE", "DATA", "STATE")}
    return {**folders, "LAB_TRANSPORT": "stand-in"}


def environment(folder: Path, site: Path) -> dict[str, str]:
    """The environment of a process of the lab that has the package.

    Args:
        folder: For the lab's folders.
        site: Where the package is installed.
    """
    # A nested pytest must not think that it is a worker of the outer one.
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return {**own, **settings(folder), "PYTHONPATH": os.pathsep.join((str(site), str(ROOT)))}
