"""Several runs of the same suites that differ in one setting, side by side: ``matrix.json`` and ``matrix.md``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from lab.gate.exitcode import CRASH, INFRA, NOTHING, OK, PRODUCT, TEST, USAGE
from lab.gate.verdict import SEVERITY, Verdict
from lab.report.elsewhere import write_text
from lab.report.model import RunReport, TestEntry, Text, as_json
from lab.report.verifier_view import verifier_lines

JSON_FILE = "matrix.json"
MARKDOWN_FILE = "matrix.md"
#: The first of these that a run ended with is the exit code of all; a signal comes before them.
_ORDER = (USAGE, CRASH, PRODUCT, TEST, INFRA, NOTHING, OK)
_SIGNALLED = 128
_DID_NOT_RUN = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One run.

    Attributes:
        value: Of the setting.
        folder: Of the run.
        code: Its exit code.
        report: None if it has none.
    """

    value: str
    folder: Path
    code: int
    report: RunReport | None


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RunOfMatrix(_Model):
    """One run of the matrix."""

    value: Text = Field(description="of the setting")
    folder: Text = Field(description="relative to the folder of the matrix")
    exit_code: int
    totals: dict[Verdict, int] = Field(default_factory=dict)
    verifier: list[Text] = Field(default_factory=list, description="what Driver Verifier checked, in words")


class RowOfMatrix(_Model):
    """One test: its verdicts and signatures, in the order of the runs; null where it did not run."""

    nodeid: Text
    verdicts: list[Verdict | None]
    signatures: list[Text] = Field(description="of red tests; else empty")


class Matrix(_Model):
    """``matrix.json``."""

    schema_version: int = 1
    key: str = Field(description="the setting in which the runs differ")
    exit_code: int
    runs: list[RunOfMatrix]
    tests: list[RowOfMatrix]

    @property
    def different(self) -> list[RowOfMatrix]:
        """The tests whose verdicts or signatures differ; gravest first."""
        rows = [row for row in self.tests if len(set(zip(row.verdicts, row.signatures, strict=True))) > 1]
        return sorted(rows, key=lambda row: (min(map(_gravity, row.verdicts)), row.nodeid))


def matrix_of(key: str, columns: Sequence[Column], *, folder: Path) -> Matrix:
    """Put runs side by side.

    Args:
        key: The setting.
        columns: The runs.
        folder: Folder of the matrix.
    """
    entries: list[dict[str, TestEntry]] = [
        {test.nodeid: test for test in column.report.tests} if column.report else {} for column in columns
    ]
    names = sorted({name for tests in entries for name in tests})
    rows = [
        RowOfMatrix(
            nodeid=name,
            verdicts=[tests[name].verdict if name in tests else None for tests in entries],
            signatures=[tests[name].signature if name in tests else "" for tests in entries],
        )
        for name in names
    ]
    return Matrix(
        key=key,
        exit_code=worst_code([column.code for column in columns]),
        runs=[
            RunOfMatrix(
                value=column.value,
                folder=str(column.folder.relative_to(folder)),
                exit_code=column.code,
                totals=column.report.totals if column.report else {},
                verifier=verifier_lines(column.report) if column.report else [],
            )
            for column in columns
        ],
        tests=rows,
    )


def worst_code(codes: Sequence[int]) -> int:
    """The exit code of several runs: that of a run which was ended by a signal, else the gravest."""
    signalled = next((code for code in codes if code >= _SIGNALLED), None)
    if signalled is not None:
        return signalled
    return min(codes, key=lambda code: _ORDER.index(code) if code in _ORDER else 0, default=NOTHING)


def matrix_lines(matrix: Matrix) -> list[str]:
    """The table for a terminal: the totals of each run, then each test on which the runs differ."""
    heads = [f"{matrix.key}={run.value}" for run in matrix.runs]
    width = max([len(head) for head in heads] + [len("product")]) + 2
    lines = ["".join(head.ljust(width) for head in heads).rstrip()]
    for verdict in SEVERITY:
        counts = [run.totals.get(verdict, 0) for run in matrix.runs]
        if any(counts):
            lines.append("".join(str(count).ljust(width) for count in counts) + verdict)
    lines.append("".join(f"exit {run.exit_code}".ljust(width) for run in matrix.runs).rstrip())
    if not matrix.different:
        return [*lines, "the runs do not differ in any test"]
    lines += ["", f"{len(matrix.different)} test(s) differ:"]
    lines += [
        "".join((verdict or _DID_NOT_RUN).ljust(width) for verdict in row.verdicts) + row.nodeid for row in matrix.different
    ]
    return lines


def matrix_markdown(matrix: Matrix) -> str:
    """The same as Markdown, with a link to each report."""
    heads = [f"[{matrix.key}={run.value}]({run.folder}/report.html)" for run in matrix.runs]
    lines = [f"### {matrix.key}: {len(matrix.runs)} runs", "", f"| | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    for verdict in SEVERITY:
        counts = [run.totals.get(verdict, 0) for run in matrix.runs]
        if any(counts):
            lines.append(f"| {verdict} | {' | '.join(map(str, counts))} |")
    lines += [f"| exit code | {' | '.join(str(run.exit_code) for run in matrix.runs)} |", ""]
    for run in matrix.runs:
        lines += [f"- {run.value}: {_plain(sentence)}" for sentence in run.verifier]
    lines += ["", "| test that differs | " + " | ".join(run.value for run in matrix.runs) + " |", "|---|" + "---|" * len(heads)]
    for row in matrix.different:
        cells = [
            f"{verdict or _DID_NOT_RUN}{f' ({_plain(signature)})' if signature else ''}"
            for verdict, signature in zip(row.verdicts, row.signatures, strict=True)
        ]
        lines.append(f"| {_plain(row.nodeid)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write_matrix(folder: Path, matrix: Matrix) -> Path:
    """Write both files; returns that of the table."""
    write_text(folder, JSON_FILE, as_json(matrix, indent=2) + "\n")
    return write_text(folder, MARKDOWN_FILE, matrix_markdown(matrix))


def _gravity(verdict: Verdict | None) -> int:
    return SEVERITY.index(verdict) if verdict is not None else len(SEVERITY)


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
