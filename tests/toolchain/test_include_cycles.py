"""No C source includes itself by way of others: a .c file and its header count as one."""

from __future__ import annotations

import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def includes(folder: Path) -> dict[Path, set[Path]]:
    """Each source without its suffix -> those that it includes."""
    found: dict[Path, set[Path]] = {}
    for source in (path for path in folder.rglob("*") if path.suffix in (".c", ".h", ".cpp")):
        named = ((source.parent / name).resolve() for name in _INCLUDE.findall(source.read_text(encoding="utf-8")))
        mine = source.resolve().with_suffix("")
        found.setdefault(mine, set()).update(path.with_suffix("") for path in named if path.exists())
        found[mine].discard(mine)
    return found


@pytest.mark.parametrize("folder", ["driver", "vm-images"])
def test_sources_include_each_other_one_way(folder: str) -> None:
    graph = includes(ROOT / folder)
    assert any(graph.values())
    assert list(TopologicalSorter(graph).static_order())
