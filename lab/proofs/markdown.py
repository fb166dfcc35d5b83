"""``proofs.md``: a record for readers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.proofs.record import ProofRecord, Row, Subject
from lab.proofs.statement import State, Statement

MARKDOWN_FILE = "proofs.md"
_STATES: tuple[State, ...] = ("refuted", "not reached", "proved")
_TITLES = {"refuted": "Refuted", "not reached": "Not reached", "proved": "Proved"}


def markdown(record: ProofRecord, catalogue: Sequence[Statement]) -> str:
    """The text of ``proofs.md``.

    Args:
        record: Its texts are cleaned already.
        catalogue: All statements; those without a row are open.
    """
    return "\n".join(_lines(record, catalogue)) + "\n"


def counted(record: ProofRecord, catalogue: Sequence[Statement]) -> str:
    """How many statements are proved, refuted, and not reached or open."""
    known = {one.id for one in catalogue}
    rows = [row for row in record.rows if row.id in known]
    proved, refuted = (sum(row.state == state for row in rows) for state in ("proved", "refuted"))
    return f"{proved} proved, {refuted} refuted, {len(known) - proved - refuted} not reached, of {len(known)} statements"


def _lines(record: ProofRecord, catalogue: Sequence[Statement]) -> Iterator[str]:
    yield f"# Proofs of {record.subject.windows or record.subject.guest}"
    yield ""
    yield f"{counted(record, catalogue)}."
    yield ""
    yield from (f"- {name}: {value}" for name, value in _facts(record.subject) if value)
    yield f"- begun: {record.started}"
    proofs = {one.id: one for one in catalogue}
    for state in _STATES:
        rows = [row for row in record.rows if row.state == state]
        if rows:
            yield from ("", f"## {_TITLES[state]}", "")
        for row in rows:
            yield from _row(row, proofs.get(row.id))
    left = [one for one in catalogue if record.row(one.id) is None]
    if left:
        yield from ("", "## Not begun", "")
        yield from (f"- {one.text} (`{one.id}`)" for one in left)


def _row(row: Row, statement: Statement | None) -> Iterator[str]:
    by = ", answered by a person" if row.by == "person" and row.answered else ""
    yield f"- **{row.text}** (`{row.id}`, {row.when}, {row.seconds:.0f} s{_proved_with(row)}{by})"
    if statement is not None and row.state != "proved":
        yield f"  - proof: {statement.proof.by_hand}"
    if row.said:
        # Four blanks and a fence that no output contains: nothing of it is taken for Markdown.
        yield from ("", "    ~~~~~~", *(f"    {line}" for line in row.said.splitlines()), "    ~~~~~~", "")


def _proved_with(row: Row) -> str:
    """It may be others than the subject's, if the record was continued later."""
    named = ((row.accelerator, ""), (row.qemu, "QEMU "), (row.lab, "lab "))
    return "".join(f", {before}{value}" for value, before in named if value)


def _facts(subject: Subject) -> Iterator[tuple[str, str]]:
    for name, value in subject.model_dump().items():
        yield name.replace("_", " "), str(value)
