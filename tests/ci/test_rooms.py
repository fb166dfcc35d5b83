"""What import contracts cannot say: which package decides verdicts, and which module writes a run's results."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

LAB = Path(__file__).resolve().parents[2] / "lab"
_WRITERS = ("write_run", "write_html")


def decided_verdicts(tree: ast.AST) -> Iterator[int]:
    """Lines that choose a verdict: an argument, a key or an assignment with a literal verdict."""
    for node in ast.walk(tree):
        pairs: list[tuple[str, ast.expr]] = []
        if isinstance(node, ast.Call):
            pairs = [(keyword.arg or "", keyword.value) for keyword in node.keywords]
        elif isinstance(node, ast.Dict):
            pairs = [(str(getattr(key, "value", "")), value) for key, value in zip(node.keys, node.values, strict=True)]
        for name, value in pairs:
            if name == "verdict" and any(isinstance(part, ast.Constant) for part in ast.walk(value)):
                yield getattr(node, "lineno", 0)


def calls(tree: ast.AST, names: tuple[str, ...]) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in names:
            yield node.lineno


def modules() -> list[tuple[str, ast.Module]]:
    paths = sorted(LAB.rglob("*.py"))
    return [(path.relative_to(LAB).as_posix(), ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


def test_verdicts_are_decided_in_the_gate_alone() -> None:
    found = [f"{name}:{line}" for name, tree in modules() if not name.startswith("gate/") for line in decided_verdicts(tree)]
    assert found == []


def test_one_module_takes_the_drivers_of_guests() -> None:
    assert {name for name, tree in modules() if list(calls(tree, ("resolve_drivers",)))} == {"live/chosen_drivers.py"}


def test_one_module_writes_the_results_of_a_run() -> None:
    assert {name for name, tree in modules() if list(calls(tree, _WRITERS))} == {"report/publish.py"}


def test_no_two_modules_of_a_package_differ_by_an_s() -> None:
    names = {path.with_suffix("") for path in LAB.rglob("*.py")} | {path.parent for path in LAB.rglob("__init__.py")}
    assert [path for path in names if path.with_name(f"{path.name}s") in names] == []


@pytest.mark.parametrize(
    "line",
    ['TestEntry(verdict="crash")', 'test.copy(update={"verdict": "crash"})', 'f(verdict="a" if b else c)'],
)
def test_a_verdict_that_is_decided_elsewhere_is_found(line: str) -> None:
    assert list(decided_verdicts(ast.parse(line))) == [1]


def test_passing_on_a_verdict_does_not_count_as_deciding() -> None:
    assert list(decided_verdicts(ast.parse("TestEntry(verdict=decision.verdict)"))) == []
