"""What `lab image doctor` reports: whether the images in the cache are complete, current, and do not expire soon."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lab.errors import LabError
from lab.image import store
from lab.image.common_findings import build_again, current, first_line
from lab.image.kind import Finding, GuestKind, Level
from lab.image.manifest import SCHEMA_VERSION, ImageManifest, load_credentials, load_manifest
from lab.image.registry import kind_of


@dataclass(frozen=True, slots=True)
class ImageHealth:
    """The findings about one image.

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
        """As plain values, for JSON."""
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
        finding = Finding("broken", f"its manifest.json cannot be read: {first_line(error)}", f"rm -r {folder}")
        return ImageHealth(folder, folder.name, "", (finding,))
    try:
        kind = kind_of(manifest)
    except LabError as error:
        finding = Finding("broken", f"its guests cannot be booted: {error.message}", error.hint)
        return ImageHealth(folder, manifest.name, manifest.guest, (finding,))
    found = [*_complete(kind, folder, manifest), *kind.examine(folder, manifest, now=now, verify=verify)]
    return ImageHealth(folder, manifest.name, manifest.guest, tuple(found))


def _leftover(folder: Path) -> ImageHealth:
    text = f"leftover of an interrupted build, {store.disk_usage(folder) / 1e6:.0f} MB"
    finding = Finding("warning", text, f"the next build of an image removes it; or use rm -r {folder}")
    return ImageHealth(folder, folder.name, "", (finding,))


def is_current(folder: Path, manifest: ImageManifest) -> bool | None:
    """The image is what its recipe makes today; None when that cannot be known: its kind, recipe or record is gone."""
    try:
        kind = kind_of(manifest)
    except LabError:
        return None  # `lab image doctor` says why
    return current(kind, folder, manifest)


def _complete(kind: GuestKind, folder: Path, manifest: ImageManifest) -> Iterator[Finding]:
    if manifest.schema_version != SCHEMA_VERSION:
        yield Finding(
            "broken",
            f"another version of the lab made it (schema {manifest.schema_version})",
            build_again(kind, folder, manifest),
        )
    missing = store.missing_files(folder, manifest)
    try:
        load_credentials(folder)
    except (OSError, ValidationError):
        missing.append("credentials.json that can be read")
    if missing:
        yield Finding("broken", f"it is incomplete: there is no {', no '.join(missing)}", build_again(kind, folder, manifest))
    else:
        yield Finding("ok", "complete")
