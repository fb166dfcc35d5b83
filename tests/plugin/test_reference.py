"""docs/fixtures.md agrees with the code, and every name on it is in an example that runs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from lab.plugin import markers
from tests.plugin import reference


def test_the_page_is_up_to_date() -> None:
    page = reference.DOCUMENT.read_text(encoding="utf-8")
    assert page == reference.document(), "run: python -m tests.plugin.reference > docs/fixtures.md"


def test_every_fixture_and_marker_is_in_an_example() -> None:
    shown = "".join(reference.examples().values())
    parameters = set(re.findall(r"(\w+): \w", ", ".join(re.findall(r"^def \w+\((.*)\) -> None", shown, re.MULTILINE))))
    fixtures = set(reference.fixture_functions())
    assert fixtures - {"driver", "client"} <= parameters
    assert {"driver", "client", "lab_driver", "lab_client", "reader", "prints", "guest", "drivers", "lab_config"} == fixtures
    used = set(re.findall(r"pytest\.mark\.(\w+)", shown + reference.imports()))
    assert used == set(markers._MARKERS)


@pytest.mark.parametrize("chapter", [*reference.chapters(), *reference.records()], ids=lambda chapter: chapter.title)
def test_every_method_and_attribute_is_in_an_example(chapter: reference.Chapter) -> None:
    if chapter.owner is None:
        return
    shown = "".join(reference.examples().values())
    listed = re.findall(r"^\| `[\w.]+?\.(\w+)[`(]", "\n".join(reference.rows(chapter)), re.MULTILINE)
    assert listed or chapter.title == "client"
    # Attributes of a script that only programs need.
    assert [name for name in listed if f".{name}" not in shown and name not in ("operations", "listed_for")] == []


def test_every_public_name_has_a_row() -> None:
    rows = [row for chapter in reference.chapters()[:4] if chapter.owner for row in reference.rows(chapter)]
    assert len(rows) > 40
    assert not [row for row in rows if row.rstrip(" |").endswith("`")], "a name without a word about it"


def test_the_example_of_two_processors_runs(inner: Any) -> None:
    """It does not run with the other examples, because it needs a template of its own."""
    inner.run("from lab.suite import LiveGuest\n" + reference.examples()["lab_cpus"]).assert_outcomes(passed=1)
