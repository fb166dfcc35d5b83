"""``proofs.json``: which statements a real Windows proved and refuted, on which image and host; made to be sent in.

docs/proofs.schema.json is generated from these models; a test compares them. The record has no name of a user or a host, no
path, no password and no product key: :mod:`lab.proofs.redact` takes them out.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lab.errors import ConfigError
from lab.proofs.statement import State
from lab.toolchain.files import replace_with

RECORD_FILE = "proofs.json"
SCHEMA_VERSION = 1


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Subject(_Model):
    """What the statements were proved with."""

    image: str = Field(description="name of the image")
    key: str = Field(description="the image's key: another build of it is another subject")
    guest: str = Field(description="the image's title, which says what it is")
    windows: str = Field(default="", description="edition and build, as the guest reported them")
    edition: str = Field(default="", description="name of the edition in the ISO")
    language: str = Field(default="", description="the recipe's locale")
    iso_sha256: str = ""
    iso_label: str = ""
    machine: str = Field(default="", description="QEMU's machine type")
    firmware: str = ""
    accelerator: str = Field(description="kvm or tcg")
    qemu: str = Field(default="", description="version of QEMU")
    built_with_qemu: str = ""
    host: str = Field(default="", description="the host's distribution and kernel")
    lab: str = Field(default="", description="version of the lab")


class Row(_Model):
    """What became of one statement."""

    id: str
    text: str = Field(description="the statement, as it was at that time")
    state: State
    said: str = Field(default="", description="what Windows answered; why it was not reached")
    by: str = Field(default="lab", description="lab, or person")
    when: str = Field(default="", description="UTC, ISO 8601")
    seconds: float = 0.0
    accelerator: str = Field(default="", description="what it was proved under; empty: that of the subject")
    qemu: str = Field(default="", description="the version of QEMU at that time; empty: that of the subject")
    lab: str = Field(default="", description="the version of the lab at that time; empty: that of the subject")

    @property
    def answered(self) -> bool:
        """Windows has given its answer."""
        return self.state != "not reached"


class ProofRecord(_Model):
    """``proofs.json``."""

    schema_version: int = SCHEMA_VERSION
    started: str = Field(description="UTC, ISO 8601")
    subject: Subject
    rows: tuple[Row, ...] = ()

    def row(self, name: str) -> Row | None:
        """The row of a statement."""
        return next((row for row in self.rows if row.id == name), None)

    def with_row(self, new: Row) -> ProofRecord:
        """The record with a row in the place of the former one of the same statement, or at the end."""
        known = any(row.id == new.id for row in self.rows)
        rows = tuple(new if row.id == new.id else row for row in self.rows)
        return self.model_copy(update={"rows": rows if known else (*rows, new)})

    def replaceable_by(self, subject: Subject) -> bool:
        """It is that of a build of this image that failed, and no guest has proved anything yet."""
        return not self.subject.key and self.subject.image == subject.image

    def continued(self, subject: Subject) -> ProofRecord:
        """The record, to go on with what is there now; each row keeps what it was proved with."""
        then = self.subject
        rows = tuple(
            row.model_copy(
                update={
                    "accelerator": row.accelerator or then.accelerator,
                    "qemu": row.qemu or then.qemu,
                    "lab": row.lab or then.lab,
                }
            )
            for row in self.rows
        )
        return self.model_copy(update={"subject": subject, "rows": rows})

    def count(self, state: State) -> int:
        """Number of rows in this state."""
        return sum(row.state == state for row in self.rows)


def read_record(file: Path) -> ProofRecord:
    """Read a record.

    Raises:
        ConfigError: It cannot be read, or is none.
    """
    try:
        return ProofRecord.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}", file=str(file), hint="give a record of `lab windows prove`"
        ) from None
    except ValidationError as error:
        said = str(error).partition("\n")[0]
        raise ConfigError(
            f"is no record of `lab windows prove` of this version: {said}", file=str(file), hint="move it away, and begin again"
        ) from None


def write_record(record: ProofRecord, file: Path) -> None:
    """Write a record, in one step."""
    with replace_with(file) as temporary:
        temporary.write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
