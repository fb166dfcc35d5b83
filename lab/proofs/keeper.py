"""The folder of a record: ``proofs.json`` and ``proofs.md``, written after each statement, without secrets and names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lab.errors import ConfigError
from lab.proofs.markdown import MARKDOWN_FILE, markdown
from lab.proofs.record import RECORD_FILE, ProofRecord, read_record, write_record
from lab.proofs.redact import Redactor
from lab.proofs.statement import Statement
from lab.toolchain.files import replace_with

FAILED_BUILD_FILES = ("failed-build.json", "failed-build.md")


class RecordFolder:
    """Where the record of a session is kept.

    Args:
        folder: The folder; it exists.
        redactor: Cleans every record before it is written.
        catalogue: All statements.

    Attributes:
        answered: Number of statements that are proved or refuted, as of the last record.
    """

    def __init__(self, folder: Path, redactor: Redactor, catalogue: Sequence[Statement]) -> None:
        self._folder = folder
        self._redactor = redactor
        self._catalogue = catalogue
        self._names = (RECORD_FILE, MARKDOWN_FILE)
        self.answered = 0

    @property
    def file(self) -> Path:
        """The record for programs."""
        return self._folder / self._names[0]

    @property
    def page(self) -> Path:
        """The record for readers."""
        return self._folder / self._names[1]

    def read(self) -> ProofRecord | None:
        """The record that is there; None: none is.

        Raises:
            ConfigError: It cannot be used.
        """
        return read_record(self.file) if self.file.exists() else None

    def save_failed_build(self, record: ProofRecord) -> None:
        """Write the record of a build that failed: beside the record that is there, if that is one of an image."""
        try:
            known = self.read()
            beside = known is not None and not known.replaceable_by(record.subject)
        except ConfigError:
            beside = True  # a file of a user, or a record of another version
        if beside:
            self._names = FAILED_BUILD_FILES
        self.save(record)

    def save(self, record: ProofRecord) -> None:
        """Write both files, each in one step."""
        self.answered = sum(row.answered for row in record.rows)
        clean = self._redactor.record(record)
        write_record(clean, self.file)
        with replace_with(self.page) as temporary:
            temporary.write_text(markdown(clean, self._catalogue), encoding="utf-8")
