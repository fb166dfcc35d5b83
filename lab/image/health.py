"""Are the images in the cache complete, current, and good for some time: what `lab image doctor` says."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from lab.errors import LabError
from lab.image import recipes, store
from lab.image.manifest import SCHEMA_VERSION, ImageManifest, load_credentials, load_manifest
from lab.image.windows import files
from lab.image.windows.inputs import present_checkout_key
from lab.image.windows.sidecar import ImageRecord, load_record

#: An evaluation or certificate that ends sooner is told.
WARN_DAYS = 14
#: What the acceptance boot found that decides whether drivers load at all.
_TOLD = ("test signing in force", "secure boot", "virtualization-based security", "licence")
_CHUNK = 4 << 20
Level = Literal["ok", "warning", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One statement about an image.

    Attributes:
        level: ``ok``, ``warning`` (it works, look at it), or ``broken`` (it does not work, or not any more).
        text: What is so.
        hint: What to try; empty when there is nothing to do.
    """

    level: Level
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ImageHealth:
    """What is to be said of one image.

    Attributes:
        path: Its folder.
        name: The image's name; the folder's where there is no manifest.
        guest: What it is, in one line; empty where there is no manifest.
        findings: The statements.
    """

    path: Path
    name: str
    guest: str
    findings: tuple[Finding, ...]

    @property
    def level(self) -> Level:
        """The worst of its findings."""
        levels = {finding.level for finding in self.findings}
        return "broken" if "broken" in levels else "warning" if "warning" in levels else "ok"

    def as_json(self) -> dict[str, Any]:
        """As plain values, for machines."""
        return {
            "path": str(self.path),
            "name": self.name,
            "guest": self.guest,
            "level": self.level,
            "findings": [{"level": item.level, "text": item.text, "hint": item.hint} for item in self.findings],
        }


def examine_all(*, cache: Path | None = None, now: datetime.datetime | None = None, verify: bool = False) -> list[ImageHealth]:
    """Examine every image in the cache, those that cannot be used too, and what interrupted builds left there.

    Args:
        cache: Cache folder; None: the user's.
        now: The present time; None: the clock's.
        verify: Read the disks of Windows images, and compare them with their SHA-256.
    """
    at = now or datetime.datetime.now(datetime.UTC)
    base = store.images_dir(cache)
    folders = sorted(path for path in base.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [*(examine(folder, now=at, verify=verify) for folder in folders), *map(_leftover, store.leftovers(base))]


def examine(folder: Path, *, now: datetime.datetime, verify: bool = False) -> ImageHealth:
    """Examine one image."""
    try:
        manifest = load_manifest(folder)
    except (OSError, ValueError) as error:
        finding = Finding("broken", f"its manifest.json cannot be read: {_first(error)}", f"rm -r {folder}")
        return ImageHealth(folder, folder.name, "", (finding,))
    found = list(_complete(folder, manifest))
    if manifest.is_windows:
        found += _windows(folder, manifest, now, verify=verify)
    else:
        found += _recipe_state(folder, manifest)
    return ImageHealth(folder, manifest.name, manifest.guest, tuple(found))


def _leftover(folder: Path) -> ImageHealth:
    text = f"leftover of an interrupted build, {store.disk_usage(folder) / 1e6:.0f} MB"
    finding = Finding("warning", text, f"the next build of an image removes it; or use rm -r {folder}")
    return ImageHealth(folder, folder.name, "", (finding,))


def is_current(folder: Path, manifest: ImageManifest) -> bool | None:
    """The image is what its recipe makes today; None when nobody can know: its recipe or its record is gone."""
    try:
        if not manifest.is_windows:
            return recipes.recipe_of(manifest.name).key() == manifest.key
        record = load_record(folder)
        recipe = recipes.windows_recipe(manifest.name)
        present = present_checkout_key(recipe, record.edition.index, ssh=bool(record.openssh_sha256))
        return present == record.checkout_key
    except (LabError, OSError, ValueError):
        return None


def _complete(folder: Path, manifest: ImageManifest) -> Iterator[Finding]:
    if manifest.schema_version != SCHEMA_VERSION:
        yield Finding(
            "broken", f"another version of the lab made it (schema {manifest.schema_version})", _again(folder, manifest)
        )
    missing = store.missing_files(folder, manifest)
    try:
        load_credentials(folder)
    except (OSError, ValidationError):
        missing.append("credentials.json that can be read")
    if missing:
        yield Finding("broken", f"it is incomplete: there is no {', no '.join(missing)}", _again(folder, manifest))
    else:
        yield Finding("ok", "complete")


def _windows(folder: Path, manifest: ImageManifest, now: datetime.datetime, *, verify: bool) -> Iterator[Finding]:
    try:
        record = load_record(folder)
    except FileNotFoundError:
        return  # told already
    except (OSError, ValueError) as error:
        yield Finding("broken", f"its {files.SIDECAR} cannot be read: {_first(error)}", _again(folder, manifest))
        return
    yield from _recipe_state(folder, manifest)
    if record.evaluation_expires:
        what = f"the licence (by {record.evaluation_from})"
        yield _term(
            what, record.evaluation_expires, now, f"docs/windows.md, Licence; {_again(folder, manifest)} starts a new term"
        )
    else:
        yield Finding("ok", "the end of the licence is not known")
    for certificate in record.certificates:
        yield _term(f"certificate {certificate.file}", certificate.expires, now, _again(folder, manifest))
    for name in _TOLD:
        if check := record.acceptance.value(name):
            text = f"{name}: {check.value} (acceptance boot of {record.acceptance.when:%Y-%m-%d})"
            yield Finding("ok" if check.ok else "warning", text, "" if check.ok else f"wanted: {check.wanted}")
    if verify:
        yield from _verify(folder, manifest, record)


def _verify(folder: Path, manifest: ImageManifest, record: ImageRecord) -> Iterator[Finding]:
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
            yield Finding("broken", f"{name} was changed after the build", _again(folder, manifest))


def _term(what: str, end: datetime.datetime, now: datetime.datetime, hint: str) -> Finding:
    days = (end - now).days
    if end <= now:
        return Finding("broken", f"{what} ended on {end:%Y-%m-%d}", hint)
    if days < WARN_DAYS:
        return Finding("warning", f"{what} ends on {end:%Y-%m-%d}, in {days} days", hint)
    return Finding("ok", f"{what} ends on {end:%Y-%m-%d}, in {days} days")


def _recipe_state(folder: Path, manifest: ImageManifest) -> Iterator[Finding]:
    current = is_current(folder, manifest)
    if current is None:
        yield Finding("warning", "it is not known whether it was made by the current recipe", _again(folder, manifest))
    elif current:
        yield Finding("ok", "made by the current recipe")
    else:
        yield Finding("warning", "made by an older recipe", _again(folder, manifest))


def _again(folder: Path, manifest: ImageManifest) -> str:
    # Of the present recipe, or perhaps: a build without --force might find it up to date.
    force = "" if is_current(folder, manifest) is False else " --force"
    return f"lab image build {manifest.name}" + (" --iso PATH" if manifest.is_windows else "") + force


def _first(error: Exception) -> str:
    return str(error).partition("\n")[0]
