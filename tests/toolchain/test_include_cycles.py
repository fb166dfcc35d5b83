"""No C source includes itself through others: a .c file and its header count as one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]', re.MULTILINE)


def graph(sources: Iterable[Path]) -> dict[Path, set[Path]]:
    """Each source without its suffix -> those that it includes: beside it, or else by their name wherever they are."""
    files = {path.resolve(): path.read_text(encoding="utf-8") for path in sources}
    by_name: dict[str, set[Path]] = defaultdict(set)
    for path in files:
        by_name[path.name].add(path)
    found: dict[Path, set[Path]] = defaultdict(set)
    for path, text in files.items():
        mine = path.with_suffix("")
        for name in _INCLUDE.findall(text):
            beside = (path.parent / name).resolve()
            named = {beside} if beside in files else by_name[name]
            found[mine] |= {other.with_suffix("") for other in named} - {mine}
    return dict(found)


def sources() -> list[Path]:
    folders = ("driver", "lab", "tests", "vm-images")
    return [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".c", ".cpp", ".h")]


def test_sources_include_each_other_one_way() -> None:
    found = graph(sources())
    assert found[ROOT / "driver/relay/relay"] >= {ROOT / "driver/common/wdm", ROOT / "driver/relay/writer"}
    assert found[ROOT / "tests/prints/relay/native"] == {ROOT / "driver/relay/platform", ROOT / "driver/relay/writer"}
    assert list(TopologicalSorter(found).static_order())


@pytest.mark.parametrize("example", ["sync", "async"])
def test_an_example_driver_can_be_copied_alone(example: str) -> None:
    included = _INCLUDE.findall((ROOT / "driver" / example / f"{example}.c").read_text(encoding="utf-8"))
    assert included == ["ntddk.h"]
    assert [path.name for path in (ROOT / "driver" / example).iterdir() if path.suffix in (".c", ".h")] == [f"{example}.c"]


def test_a_cycle_by_way_of_a_header_is_found(tmp_path: Path) -> None:
    for name, text in {
        "a.c": '#include "b.h"',
        "a.h": "",
        "b.c": '#include "deep/c.h"',
        "b.h": "",
        "deep/c.h": "#include <a.h>",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    with pytest.raises(CycleError):
        TopologicalSorter(graph(path for path in tmp_path.rglob("*") if path.is_file())).prepare()
