"""``image.json`` from what a build knows when it is done."""

from __future__ import annotations

import datetime
from pathlib import Path

import lab
from lab.image.windows import files
from lab.image.windows.image_record import (
    AcceptanceRecord,
    EditionRecord,
    FirmwareRecord,
    ImageRecord,
    InstallRecord,
    IsoRecord,
)
from lab.image.windows.inputs import Prepared, certificate_record
from lab.image.windows.install import InstallResult
from lab.image.windows.iso import hash_file
from lab.vm.spec import Accelerator


def make_record(
    inputs: Prepared, result: InstallResult, acceptance: AcceptanceRecord, folder: Path, accelerator: Accelerator, qemu: str
) -> ImageRecord:
    """Describe an image whose files are all in its folder; the disks are read once, for their hashes.

    Args:
        inputs: What it was made from.
        result: How the installation went.
        acceptance: What the acceptance boot found.
        folder: Where its files are.
        accelerator: What it was built with.
        qemu: QEMU's version.
    """
    now = datetime.datetime.now(datetime.UTC)
    expires, source = expiry(inputs, acceptance, now)
    kd, code = folder / files.KD_DISK, folder / files.FIRMWARE_CODE
    return ImageRecord(
        name=inputs.recipe.name,
        key=inputs.key,
        checkout_key=inputs.checkout_key,
        built=now,
        tool_version=lab.__version__,
        iso=IsoRecord(name=inputs.iso.path.name, size=inputs.iso.size, label=inputs.iso.label, sha256=inputs.iso_sha256),
        edition=EditionRecord(
            index=inputs.edition.index,
            name=inputs.edition.name,
            edition=inputs.edition.edition,
            build=inputs.edition.build,
            arch=inputs.edition.arch,
        ),
        firmware=FirmwareRecord(kind=inputs.recipe.machine.firmware, code_sha256=hash_file(code) if code.is_file() else ""),
        disk_sha256=hash_file(folder / files.DISK),
        kd_disk_sha256=hash_file(kd) if kd.is_file() else "",
        evaluation_expires=expires,
        evaluation_from=source,
        certificates=tuple(certificate_record(name, der) for name, der in inputs.certificates.items()),
        openssh_sha256=inputs.openssh_sha256,
        own_product_key=inputs.product_key is not None,
        install=InstallRecord(
            duration_s=result.duration_s,
            resets=result.resets,
            accelerator=accelerator,
            qemu=qemu,
        ),
        acceptance=acceptance,
    )


def expiry(inputs: Prepared, acceptance: AcceptanceRecord, now: datetime.datetime) -> tuple[datetime.datetime | None, str]:
    """When the Windows in an image stops working, and how that is known."""
    minutes = acceptance.licence.grace_minutes
    if minutes > 0:
        return acceptance.when + datetime.timedelta(minutes=minutes), "the guest's own licence service"
    days = inputs.recipe.evaluation_days
    evaluation = "eval" in f"{inputs.edition.name} {inputs.edition.edition}".lower()
    if days is None or not evaluation or inputs.product_key is not None:
        return None, ""
    return now + datetime.timedelta(days=days), f"the recipe: an evaluation runs for {days} days"
