"""The report on defects, in the terminal and as Markdown."""

from __future__ import annotations

import io

from rich.console import Console

from lab.defects.model import DefectsReport
from lab.defects.outcome import Trial, unseen
from lab.defects.page import cells, columns, page
from lab.defects.show import by_test, in_order, markdown, print_report, summary
from tests.defects.trials import BEGAN, planted, run_of


def report(*, whole: bool = True) -> DefectsReport:
    caught, survived = Trial(planted()), Trial(planted("ring-on", what="it prints a | b"))
    caught.add(run_of(a="product", b="product"), began=BEGAN, seconds=3.0, log="")
    survived.add(run_of(a="passed", b="passed"), began=BEGAN, seconds=3.0, log="")
    return DefectsReport(
        lab_version="1",
        started="2026-01-01T00:00:00",
        guest="a guest",
        image_key="k",
        accelerator="tcg",
        clock="virtual",
        workers=6,
        reference_s=20.0,
        reference_tests=2,
        whole=whole,
        build_s=4.0,
        defects_s=50.0,
        red_without=["suites/test_ring.py::test_c"],
        defects=[
            caught.entry({}, folder="ring-off"),
            survived.entry({}, folder="ring-on"),
            unseen(planted("ring-in"), "needs direct_io"),
        ],
    )


def test_what_needs_work_comes_first() -> None:
    assert [entry.name for entry in in_order(report().defects)] == ["ring-on", "ring-off", "ring-in"]


def test_the_figures() -> None:
    lines = summary(report())
    assert lines[0] == "3 defects on a guest (tcg, virtual clock): 1 survived, 1 caught, 1 not on this guest"
    assert "all defects take 2.5 times as long as one run of the suites" in lines
    assert lines[-1] == "red without any defect: test_ring.py::c"
    assert not any("times as long" in line for line in summary(report(whole=False)))


def test_plain_lines() -> None:
    out = io.StringIO()
    print_report(report(), Console(file=out, width=10_000))
    assert out.getvalue().splitlines()[:3] == [
        "survived          ring-on: it prints a | b",
        "caught            ring-off: product after 1.5 s, by test_ring.py::a and 1 more",
        "not on this guest ring-in: needs direct_io",
    ]


def test_a_table_on_a_terminal() -> None:
    out = io.StringIO()
    print_report(report(), Console(file=out, force_terminal=True, width=120, no_color=True))
    assert "1.5 s" in out.getvalue()
    assert "test_ring.py::b" in out.getvalue()


def test_markdown_has_the_matrix_both_ways() -> None:
    text = markdown(report())
    assert "| `ring-on` | it prints a \\| b | survived |" in text
    assert "| `ring-off` | it counts one more | caught | product<br>product | `test_ring.py::a`<br>`test_ring.py::b` |" in text
    assert "| `test_ring.py::a` | `ring-off` |" in text
    assert [names for _, names in by_test(report())] == [["ring-off"], ["ring-off"]]


def test_the_page_has_a_mark_for_each_test_that_ran_and_escapes_texts() -> None:
    odd = report()
    texts = [entry.model_copy(update={"what": "<b>&"}) for entry in odd.defects]
    text = page(odd.model_copy(update={"defects": texts}))
    assert "&lt;b&gt;&amp;" in text
    assert "<b>&" not in text
    assert columns(odd) == ["suites/test_ring.py::test_a", "suites/test_ring.py::test_b"]
    assert text.count('<td class="product"') == 2
    assert text.count('<td class="passed"') == 2
    assert text.count("<th><code>ring-") == 2, "a defect that was not run has no row in the matrix"
    assert cells(odd.defects[2]) == {"suites/test_ring.py::test_a": ("·", "not run")}
