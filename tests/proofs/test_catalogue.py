"""The catalogue of statements about Windows: complete, well-formed, and what docs/windows.md shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lab.errors import ConfigError
from lab.proofs.catalogue import chosen, statements
from lab.proofs.document import known_records, table, with_table
from lab.proofs.record import ProofRecord, Row, Subject
from lab.proofs.schema import proofs_schema
from lab.proofs.statement import NEEDS, Statement
from lab.proofs.ways import Ask

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "windows.md"


def record(windows: str, *rows: Row, accelerator: str = "kvm") -> ProofRecord:
    subject = Subject(image="windows-10", key="k", guest="Windows 10", windows=windows, accelerator=accelerator)
    return ProofRecord(started="2030-06-01T00:00:00Z", subject=subject, rows=rows)


def row(name: str, state: str, when: str = "2030-06-01T10:00:00Z") -> Row:
    return Row.model_validate({"id": name, "text": "t", "state": state, "when": when})


def test_the_table_of_the_document_is_up_to_date() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == with_table(text, known_records(ROOT)), "run: python -m lab.proofs.document"


def test_the_schema_is_up_to_date() -> None:
    file = ROOT / "docs" / "proofs.schema.json"
    assert file.read_text(encoding="utf-8") == proofs_schema(), "run: python -m lab.proofs.schema > docs/proofs.schema.json"
    assert json.loads(proofs_schema())["title"] == "ProofRecord"


def test_each_statement_has_a_name_of_its_own() -> None:
    names = [one.id for one in statements()]
    assert len(names) == len(set(names))
    assert [
        name for name in names if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+|capabilities|certificates|quiet|openssh", name)
    ] == []


@pytest.mark.parametrize("one", statements(), ids=lambda one: one.id)
def test_a_statement_fits_into_its_row(one: Statement) -> None:
    for cell in (one.text, one.proof.by_hand):
        assert cell
        assert "\n" not in cell
        assert "|" not in cell
        assert cell.count("`") % 2 == 0
    assert not one.text.endswith(".")
    assert one.proof.needs in NEEDS
    # A person is asked only where a program cannot decide.
    assert isinstance(one.proof, Ask) == (one.proof.needs == "person")


def test_what_needs_kvm_says_so() -> None:
    for one in statements():
        assert one.only_kvm == ("KVM" in one.text), one.id


def test_records_fill_the_table() -> None:
    first, second, third = statements()[:3]
    records = [
        record("ServerStandard 20348.587", row(first.id, "proved"), row(second.id, "refuted")),
        record("Enterprise 26100.1", row(first.id, "proved", "2030-07-02T00:00:00Z"), row(second.id, "proved")),
        record("Enterprise 26100.1", row(third.id, "not reached"), accelerator="tcg"),
    ]
    lines = table((first, second, third), records).splitlines()
    assert lines[0] == "3 statements: 1 proved, 1 refuted, 1 open."
    cells = [line.rpartition(" | ")[2] for line in lines[-3:]]
    assert cells == [
        "proved: ServerStandard 20348.587 (kvm, 2030-06-01), Enterprise 26100.1 (kvm, 2030-07-02) |",
        "refuted: ServerStandard 20348.587 (kvm, 2030-06-01); proved: Enterprise 26100.1 (kvm, 2030-06-01) |",
        "open |",
    ]


def test_a_document_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no place for the table"):
        with_table("# Windows\n", [])


def test_a_name_that_does_not_exist_is_refused_with_those_that_are_close() -> None:
    assert [one.id for one in chosen(["test-signing", "setup-asks-nothing"], statements())] == [
        "setup-asks-nothing",
        "test-signing",
    ]
    with pytest.raises(ConfigError, match="no statement 'test-singing'") as caught:
        chosen(["test-singing"], statements())
    assert "did you mean test-signing" in caught.value.hint
