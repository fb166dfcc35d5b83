"""What `lab image doctor` reports about a Windows image: licence, certificates, what the acceptance boot found, its disks."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator
from pathlib import Path

from lab.errors import HostToolError
from lab.host.accel import QEMU
from lab.host.qemumachines import ask_machines
from lab.image.common_findings import build_again, first_line, recipe_state, term
from lab.image.kind import Finding, GuestKind
from lab.image.manifest import ImageManifest
from lab.image.windows import files
from lab.image.windows.driver_policy import policy_findings
from lab.image.windows.image_record import ImageRecord, load_record
from lab.image.windows.inputs import present_checkout_key
from lab.image.windows.machine_age import machine_finding
from lab.image.windows.recipe import windows_recipe

#: What the acceptance boot found that decides whether drivers load at all.
_TOLD = ("test signing in force", "secure boot", "virtualization-based security", "licence")
_CHUNK = 4 << 20


def is_current(folder: Path, manifest: ImageManifest) -> bool:
    """The image is what its recipe makes today of the same ISO.

    Raises:
        LabError, OSError, ValueError: Its record or its recipe cannot be read.
    """
    record = load_record(folder)
    recipe = windows_recipe(manifest.name)
    present = present_checkout_key(recipe, record.edition.index, ssh=bool(record.openssh_sha256))
    return present == record.checkout_key


def examine(
    kind: GuestKind, folder: Path, manifest: ImageManifest, *, now: datetime.datetime, verify: bool
) -> Iterator[Finding]:
    """See :meth:`lab.image.kind.GuestKind.examine`."""
    again = build_again(kind, folder, manifest)
    try:
        record = load_record(folder)
    except FileNotFoundError:
        return  # reported already
    except (OSError, ValueError) as error:
        yield Finding("broken", f"its {files.RECORD} cannot be read: {first_line(error)}", again)
        return
    yield from recipe_state(kind, folder, manifest)
    if record.evaluation_expires:
        what = f"the licence (by {record.evaluation_from})"
        yield term(what, record.evaluation_expires, now, f"docs/windows.md, Licence; {again} starts a new term")
    else:
        yield Finding("ok", "the end of the licence is not known")
    for certificate in record.certificates:
        yield term(f"certificate {certificate.file}", certificate.expires, now, again)
    for name in _TOLD:
        if check := record.acceptance.value(name):
            text = f"{name}: {check.value} (acceptance boot of {record.acceptance.when:%Y-%m-%d})"
            yield Finding("ok" if check.ok else "warning", text, "" if check.ok else f"wanted: {check.wanted}")
    yield from policy_findings(folder, record)
    yield from _machine(manifest, now, again)
    if verify:
        yield from _verify(folder, manifest, record, again)


def _machine(manifest: ImageManifest, now: datetime.datetime, again: str) -> Iterator[Finding]:
    try:
        known = ask_machines(QEMU)
    except HostToolError as error:
        yield Finding("warning", f"the age of its machine type is not known: {first_line(error)}", error.hint)
        return
    yield machine_finding(manifest.machine.machine, known, now, again)


def _verify(folder: Path, manifest: ImageManifest, record: ImageRecord, again: str) -> Iterator[Finding]:
    for name, wanted in ((manifest.machine.disk, record.disk_sha256), (files.KD_DISK, record.kd_disk_sha256)):
        path = folder / name
        if not wanted or not path.is_file():
            continue
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
        if digest.hexdigest() == wanted:
            yield Finding("ok", f"{name} is unchanged since the build")
        else:
            yield Finding("broken", f"{name} was changed after the build", again)
