"""The catalogue in driver/defects: each defect fits the source of today, and names facts and tests that exist."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.defects.catalogue import Planted, chosen, read_catalogue
from lab.defects.source import changed_source, diff_of
from lab.errors import ConfigError
from tests.defects.reference import DOCUMENT, ROOT, with_table

CATALOGUE = read_catalogue(ROOT)
#: What a recipe says of the free guest, as far as defects ask for it.
FREE_GUEST_LACKS = {
    "cleanup_on_close",
    "concurrent_dispatch",
    "direct_io",
    "enforces_share_modes",
    "nt_kernel",
    "null_mdl_read",
}


def facts() -> list[str]:
    """The first column of the tables of docs/suites.md."""
    text = DOCUMENT.read_text(encoding="utf-8")
    sections = (part for part in text.split("\n## ") if part.startswith(("Documented behaviour", "Hazards")))
    rows = [line for section in sections for line in section.splitlines() if line.startswith("| ")]
    return [row.removeprefix("| ").partition(" | ")[0] for row in rows if not row.startswith(("| fact", "| hazard"))]


def ids_in_suites() -> Iterator[str]:
    """Node ids; those of a test for both drivers with its parameter."""
    for path in sorted((ROOT / "suites").rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                of_both = any(isinstance(mark, ast.Name) and mark.id == "both" for mark in node.decorator_list)
                for parameter in ("[sync]", "[async]") if of_both else ("",):
                    yield f"{path.relative_to(ROOT).as_posix()}::{node.name}{parameter}"


@pytest.mark.parametrize("planted", CATALOGUE, ids=lambda planted: planted.name)
def test_every_defect_fits_the_source_of_today(planted: Planted) -> None:
    changed = [line for line in diff_of(planted).splitlines()[2:] if line.startswith(("+", "-"))]
    assert changed


def test_no_two_defects_are_the_same_change() -> None:
    sources = {changed_source(planted) for planted in CATALOGUE}
    assert len(sources) == len(CATALOGUE)


def test_every_fact_has_a_defect_and_every_defect_a_fact() -> None:
    assert {planted.defect.fact for planted in CATALOGUE} == set(facts())
    assert len(facts()) > 25


def test_every_named_test_exists() -> None:
    named = {test for planted in CATALOGUE for test in planted.defect.tests}
    assert named <= set(ids_in_suites())


def test_the_free_guest_can_show_forty_defects_or_more() -> None:
    lacking = {name for planted in CATALOGUE for name in planted.defect.needs}
    can = [planted for planted in CATALOGUE if not FREE_GUEST_LACKS.intersection(planted.defect.needs)]
    assert len(can) >= 40
    assert lacking - FREE_GUEST_LACKS <= {"cancel_one"}


def test_the_document_has_the_table_of_today() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert with_table(text) == text, "python -m tests.defects.reference"


def test_defects_by_name() -> None:
    assert chosen(CATALOGUE, []) == CATALOGUE
    assert [one.name for one in chosen(CATALOGUE, ["sync-print-twice", "async-lifo", "async-lifo"])] == [
        "async-lifo",
        "sync-print-twice",
    ]
    with pytest.raises(ConfigError, match="there is no defect sync-print-thrice") as raised:
        chosen(CATALOGUE, ["sync-print-thrice"])
    assert "did you mean sync-print-twice" in raised.value.hint


ONE = """\
driver: ring
file: ring.c
defects:
  - name: ring-off
    what: it counts one more
    fact: it counts
    tests: [suites/test_ring.py::test_it_counts]
    changes:
      - {old: 'a + 1', new: 'a + 2'}
"""


def small(root: Path, *files: str, source: str = "int a; int f(void)\n{\n    return a +\n        1;\n}\n") -> Path:
    """A checkout with a driver called ring and a catalogue."""
    (root / "driver" / "defects").mkdir(parents=True)
    (root / "driver" / "ring").mkdir()
    (root / "driver" / "ring" / "ring.c").write_text(source, encoding="utf-8")
    for number, text in enumerate(files):
        (root / "driver" / "defects" / f"{number}.yaml").write_text(text, encoding="utf-8")
    return root


def test_white_space_of_the_source_does_not_matter(tmp_path: Path) -> None:
    [planted] = read_catalogue(small(tmp_path, ONE))
    assert "    return a + 2;\n" in changed_source(planted)
    assert planted.place == f"{tmp_path}/driver/defects/0.yaml:4"


def test_new_lines_are_indented_like_the_place(tmp_path: Path) -> None:
    text = ONE.replace("{old: 'a + 1', new: 'a + 2'}", '{old: "return a + 1;", new: "a++;\\nreturn a;"}')
    [planted] = read_catalogue(small(tmp_path, text))
    assert "    a++;\n    return a;\n" in changed_source(planted)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("int a;\n", "is not in"),
        ("a + 1; a + 1;", "is 2 times in"),
        ("a + 10; aa + 1; b", "is 2 times in"),
    ],
)
def test_a_text_that_is_not_there_exactly_once_is_an_error(tmp_path: Path, source: str, said: str) -> None:
    [planted] = read_catalogue(small(tmp_path, ONE, source=source))
    with pytest.raises(ConfigError, match=said) as raised:
        changed_source(planted)
    assert "a + 1" in raised.value.message
    assert planted.place in raised.value.hint


def test_a_defect_that_changes_nothing_is_an_error(tmp_path: Path) -> None:
    [planted] = read_catalogue(small(tmp_path, ONE.replace("a + 2", "a  + 1")))
    with pytest.raises(ConfigError, match="changes nothing"):
        changed_source(planted)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: ring-off", "name: other-off", "must begin with ring-"),
        ("tests: [suites/test_ring.py::test_it_counts]", "tests: []", "at least 1 item"),
        ("fact: it counts", "fact: it counts\n    needs: [direct_ioo]", "did you mean direct_io"),
        ("fact: it counts", "fact: it counts\n    verdict: [passed]", "must be 'product'"),
    ],
)
def test_a_wrong_entry_is_an_error_with_file_and_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        read_catalogue(small(tmp_path, ONE.replace(old, new)))
    assert "0.yaml" in str(raised.value)


def test_one_name_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ring-off is the name of the defect at .*0\.yaml:4"):
        read_catalogue(small(tmp_path, ONE, ONE))


def test_no_catalogue_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no catalogue"):
        read_catalogue(small(tmp_path))


def test_what_a_guest_cannot_show() -> None:
    by_name = {planted.name: planted.defect for planted in CATALOGUE}
    assert by_name["sync-slots-come-again"].unseen_on({"dbgprint"}) == "needs direct_io"
    assert by_name["sync-slots-come-again"].unseen_on({"direct_io"}) == ""
    assert by_name["async-unload-loses-reads"].unseen_on({"unload_waits_for_handles"}) == "hidden by unload_waits_for_handles"
