"""The table in docs/windows.md, made from the catalogue and from records: ``python -m lab.proofs.document`` writes it.

Records that were sent in are kept as docs/proofs/NAME.json.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lab.errors import ConfigError
from lab.host.assets import data_root
from lab.proofs.catalogue import statements
from lab.proofs.record import ProofRecord, Row, read_record
from lab.proofs.statement import Statement

_BEGIN = "<!-- statements: python -m lab.proofs.document -->\n"
_END = "<!-- end of statements -->\n"
_HEAD = "| statement | proof | name | so far |\n|---|---|---|---|\n"


def table(catalogue: Sequence[Statement], records: Sequence[ProofRecord]) -> str:
    """The table, with a sentence that counts: Markdown.

    Args:
        catalogue: All statements.
        records: What is known of them.
    """
    cells = {one.id: _so_far(one, records) for one in catalogue}
    proved = sum("proved" in cell and "refuted" not in cell for cell in cells.values())
    refuted = sum("refuted" in cell for cell in cells.values())
    counts = f"{len(catalogue)} statements: {proved} proved, {refuted} refuted, {len(catalogue) - proved - refuted} open.\n\n"
    return (
        counts + _HEAD + "".join(f"| {one.text} | {one.proof.by_hand} | `{one.id}` | {cells[one.id]} |\n" for one in catalogue)
    )


def with_table(text: str, records: Sequence[ProofRecord]) -> str:
    """The document with the present table."""
    before, _, rest = text.partition(_BEGIN)
    _, found, after = rest.partition(_END)
    if not found:
        raise ConfigError("the document has no place for the table of statements", hint=f"it is between {_BEGIN} and {_END}")
    return f"{before}{_BEGIN}\n{table(statements(), records)}\n{_END}{after}"


def known_records(root: Path) -> list[ProofRecord]:
    """The records that were sent in, by file name."""
    return [read_record(file) for file in sorted((root / "docs" / "proofs").glob("*.json"))]


def _so_far(statement: Statement, records: Sequence[ProofRecord]) -> str:
    """What records say of a statement: each state, with the Windows that it was found on."""
    found: dict[str, list[str]] = {}
    for record in records:
        row = record.row(statement.id)
        if row is not None and row.answered:
            found.setdefault(row.state, []).append(_where(record, row))
    if not found:
        return "open"
    return "; ".join(f"{state}: {', '.join(dict.fromkeys(found[state]))}" for state in ("refuted", "proved") if state in found)


def _where(record: ProofRecord, row: Row) -> str:
    subject = record.subject
    return f"{subject.windows or subject.guest} ({row.accelerator or subject.accelerator}, {row.when[:10]})"


def main() -> int:
    """Write the table into the document of this checkout."""
    root = data_root()
    document = root / "docs" / "windows.md"
    document.write_text(with_table(document.read_text(encoding="utf-8"), known_records(root)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
