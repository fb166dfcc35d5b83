"""The table of defects in docs/suites.md, made from the catalogue: ``python -m tests.defects.reference`` writes it."""

from __future__ import annotations

from pathlib import Path

from lab.defects.catalogue import Planted, read_catalogue
from lab.defects.show import short

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "suites.md"
_BEGIN = "<!-- defects: python -m tests.defects.reference -->\n"
_END = "<!-- end of defects -->\n"


def row(planted: Planted) -> str:
    """One defect: name, what is wrong, tests, verdict, needs."""
    defect = planted.defect
    tests = "<br>".join(f"`{short(test)}`" for test in defect.tests)
    needs = ", ".join([*(f"`{name}`" for name in defect.needs), *(f"not `{name}`" for name in defect.hidden_by)]) or "–"
    return f"| `{defect.name}` | {defect.what} | {tests} | {' or '.join(defect.verdict)} | {needs} |\n"


def table() -> str:
    """All defects."""
    rows = "".join(map(row, read_catalogue(ROOT)))
    head = "| defect | what the driver does wrong | tests that must notice it | verdict | needs |\n"
    return f"{head}|---|---|---|---|---|\n{rows}"


def with_table(text: str) -> str:
    """The document with the table of today's catalogue."""
    before, found, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    assert found, f"{DOCUMENT} has no place for the table"
    assert end, f"{DOCUMENT} has no end of the table"
    return f"{before}{_BEGIN}{table()}{_END}{after}"


if __name__ == "__main__":
    DOCUMENT.write_text(with_table(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
