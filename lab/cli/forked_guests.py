"""Which of the built images' guests are forked, and why the others are booted: a part of `lab doctor`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lab.errors import LabError
from lab.image.manifest import ImageManifest
from lab.image.store import StoredImage
from lab.live.machine_spec import machine_spec
from lab.live.print_wiring import booted_as, can_resume, why_not_forked
from lab.prints.registry import channel_of
from lab.vm.obstacles import find_obstacles

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ForkedGuest:
    """One way in which guests of an image are used.

    Attributes:
        image: Name of the image.
        prints: Where their prints come from.
        why_booted: Why each of them is booted; empty if they are forked.
    """

    image: str
    prints: str
    why_booted: str

    @property
    def words(self) -> str:
        """What becomes of them, for people."""
        return f"each is booted: {self.why_booted}" if self.why_booted else "forked from a template"

    def as_json(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            "image": self.image,
            "prints": self.prints,
            "forked": not self.why_booted,
            "why_booted": self.why_booted or None,
        }


def forked_guests(
    images: list[StoredImage], accelerator: Literal["kvm", "tcg"], *, no_snapshots: str = ""
) -> list[ForkedGuest]:
    """The ways in which guests of these images are used, by image.

    A run may boot guests for further reasons: what its lab file adds to the virtual machine, and what QEMU finds when a
    template is made.

    Args:
        images: Built images; of several builds of one name, the newest comes first.
        accelerator: That of the guests.
        no_snapshots: Why this QEMU cannot take snapshots at all; empty if it can.
    """
    newest: dict[str, StoredImage] = {}
    for image in images:
        newest.setdefault(image.manifest.name, image)
    ways = [way for image in newest.values() for way in _ways(image, accelerator)]
    return [replace(way, why_booted=no_snapshots) for way in ways] if no_snapshots else ways


def _ways(image: StoredImage, accelerator: Literal["kvm", "tcg"]) -> Iterator[ForkedGuest]:
    manifests = [image.manifest]
    if image.manifest.debug is not None and image.manifest.prints.source != "kd":
        manifests.append(booted_as(image.manifest, "kd"))
    for manifest in manifests:
        try:
            prints, why = channel_of(manifest).words, _why_booted(manifest, image.path, accelerator)
        except LabError as error:
            _LOG.debug("%s", manifest.name, exc_info=True)
            prints, why = manifest.prints.source, error.message.splitlines()[0]
        yield ForkedGuest(manifest.name, prints, why)


def _why_booted(manifest: ImageManifest, folder: Path, accelerator: Literal["kvm", "tcg"]) -> str:
    if not can_resume(manifest):
        return why_not_forked(manifest)
    spec = machine_spec(manifest, folder, name="", accelerator=accelerator)
    return "; ".join(map(str, find_obstacles(spec)))
