"""``image.json`` of a published Windows image: what it was made from, when it expires, and what the acceptance boot found."""

from __future__ import annotations

import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from lab.image.windows.files import RECORD


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class IsoRecord(_Model):
    """The user's ISO."""

    name: str = Field(description="file name, without its folder")
    size: int
    label: str
    sha256: str


class EditionRecord(_Model):
    """What was installed of it."""

    index: int
    name: str
    edition: str = ""
    build: str = ""
    arch: str = ""


class FirmwareRecord(_Model):
    """What the VM starts with."""

    kind: str = Field(description="uefi or bios")
    code_sha256: str = ""


class CertificateRecord(_Model):
    """A certificate that the guest trusts."""

    file: str
    subject: str
    sha1: str = Field(description="thumbprint, as Windows shows it")
    expires: datetime.datetime


class CheckRecord(_Model):
    """One assertion of the acceptance boot."""

    name: str
    ok: bool
    value: str = Field(description="what was found")
    wanted: str
    required: bool = True


class LicenceRecord(_Model):
    """What Windows says about its licence."""

    name: str = ""
    status: int = Field(default=-1, description="LicenseStatus of SoftwareLicensingProduct: 1 licensed, 5 notification")
    grace_minutes: int = Field(default=0, description="GracePeriodRemaining; 0: no end, or over")


class AcceptanceRecord(_Model):
    """The acceptance boot."""

    when: datetime.datetime
    boot_s: float
    windows: str = ""
    kd_entry: str = ""
    licence: LicenceRecord = LicenceRecord()
    driver_policy: str = Field(
        default="",
        description="state of the policy for cross-signed drivers: none, evaluation, enforced; unknown: Windows did not say; "
        "empty: not asked",
    )
    checks: tuple[CheckRecord, ...] = ()

    def value(self, name: str) -> CheckRecord | None:
        """The check of this name."""
        return next((check for check in self.checks if check.name == name), None)


class InstallRecord(_Model):
    """How the installation went."""

    duration_s: float
    resets: int
    accelerator: str
    qemu: str


class ImageRecord(_Model):
    """``image.json``."""

    schema_version: int = 1
    name: str
    key: str = Field(description="hash of ISO, rendered inputs, scripts")
    checkout_key: str = Field(description="hash of that part of it which comes from the checkout")
    built: datetime.datetime
    tool_version: str
    iso: IsoRecord
    edition: EditionRecord
    firmware: FirmwareRecord
    disk_sha256: str
    kd_disk_sha256: str = Field(default="", description="empty: the image has no entry for the kernel debugger")
    evaluation_expires: datetime.datetime | None = None
    evaluation_from: str = Field(default="", description="where that date comes from")
    certificates: tuple[CertificateRecord, ...]
    openssh_sha256: str = ""
    own_product_key: bool = False
    install: InstallRecord
    acceptance: AcceptanceRecord


def load_record(folder: Path) -> ImageRecord:
    """Read ``image.json`` of an image folder; raises pydantic's ValidationError or OSError as they come."""
    return ImageRecord.model_validate_json((folder / RECORD).read_text(encoding="utf-8"))


def save_record(record: ImageRecord, folder: Path) -> Path:
    """Write ``image.json``; returns its path."""
    path = folder / RECORD
    path.write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return path
