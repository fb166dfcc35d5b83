"""What people see of a comparison, and the schema of its JSON."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from lab.compare.compare import compare
from lab.compare.model import Comparison
from lab.compare.schema import compare_schema
from lab.compare.show import headline, markdown, print_comparison
from tests.compare.recording import OTHER_DRIVER, attempt, entry, recorded

ROOT = Path(__file__).parents[2]


def example() -> Comparison:
    base = [entry("kept"), entry("broken"), entry("gone"), entry("noisy", prints=["length: 20"]), entry("unsteady")]
    new = [
        entry("kept"),
        entry("broken", "product", signature="product AssertionError: assert read.error == 0 [error 5]"),
        entry("noisy", prints=["length: 21"]),
        entry("unsteady", earlier=[attempt("product"), attempt("passed"), attempt("passed")]),
    ]
    return compare(recorded(base, label="old"), recorded(new, label="new", drivers=OTHER_DRIVER, accelerator="kvm"))


def on_terminal(result: Comparison) -> str:
    stream = io.StringIO()
    print_comparison(result, Console(file=stream, width=120))
    return stream.getvalue()


def test_a_terminal_shows_each_change_with_its_reason() -> None:
    text = on_terminal(example())
    lines = text.splitlines()
    assert lines[0] == "1 newly red, 1 not run, 1 flaky, 2 unchanged"
    assert "The runs were not made on the same: accelerator: tcg in BASE, kvm in NEW" in text
    assert "newly red           suites/test_ring.py::broken" in lines
    assert f"{'':<20}product: it is product" in lines
    assert f"{'':<20}signature: product AssertionError: assert read.error == 0 [error 5]" in lines
    assert f"{'':<20}deselected, renamed or removed" in lines
    assert f"{'':<20}0 of 1 red in BASE, 1 of 4 red in NEW" in lines
    assert f"{'':<9}- length: 20" in lines


def test_markdown_shows_the_same_and_nothing_of_a_test_becomes_markup() -> None:
    text = markdown(example())
    assert text.startswith("### 1 newly red, 1 not run, 1 flaky, 2 unchanged\n")
    assert "| newly red | suites/test\\_ring.py::broken | product: it is product<br>signature: product" in text
    assert "    - length: 20" in text
    hostile = [entry("x<script>|`@team", "product")]
    text = markdown(compare(recorded([]), recorded(hostile)))
    assert "<script>" not in text
    assert "x&lt;script&gt;\\|\\`&#64;team" in text


def test_markdown_fits_into_a_comment() -> None:
    many = [entry(f"test_{number}_{'x' * 200}", "product") for number in range(2000)]
    text = markdown(compare(recorded([]), recorded(many)))
    assert len(text) < 65536
    assert "more changes; the JSON of the comparison has all of them." in text


def test_equal_runs_say_so() -> None:
    result = compare(recorded([entry("a")]), recorded([entry("a")]))
    assert result.equal
    assert headline(result) == "The only test has the same result"
    assert "The drivers are the same to the byte" in on_terminal(result)
    assert headline(compare(recorded([]), recorded([]))) == "Neither run has a test"


def test_json_is_read_back_and_the_schema_is_the_one_that_is_checked_in() -> None:
    result = example()
    assert Comparison.model_validate_json(result.model_dump_json()) == result
    text = (ROOT / "docs" / "compare.schema.json").read_text(encoding="utf-8")
    assert text == compare_schema(), "run: python -m lab.compare.schema > docs/compare.schema.json"
