"""Forks of a guest that prints all the time, so that its snapshot is taken in the middle of a record."""

from __future__ import annotations

from pathlib import Path

from lab.host.accel import QEMU
from lab.host.paths import runs_dir, templates_dir
from lab.host.qemu import qemu_version
from lab.image.folder import read_manifest
from lab.lease.image_source import make_forks
from lab.live.guest import LiveGuest
from lab.live.payload import Payload
from lab.snapshot.fork_request import ForkWish
from lab.snapshot.forks import Forks
from lab.snapshot.store import TemplateStore
from lab.snapshot.template import TemplateWish
from tests.relayguest.stand_in import NAME, RESTLESS_BYTES

PLAIN = ForkWish(1)
_BOOT_S = 120.0


def restless_forks(image: Path) -> Forks:
    """Where forks of the image come from; as each worker of a run has one.

    Args:
        image: Folder of the image.
    """
    wish = TemplateWish(
        image_dir=image,
        manifest=read_manifest(image),
        payload=Payload(),
        accelerator="tcg",
        qemu=qemu_version(QEMU),
        transport=NAME,
        smp=1,
    )
    return make_forks(
        wish,
        TemplateStore(templates_dir()),
        runs_dir=runs_dir(),
        boot_timeout=_BOOT_S,
        on_close=lambda folder, _kept: folder.remove(),
    )


def restless_guest(forks: Forks, name: str) -> LiveGuest:
    """A fork, which prints already."""
    guest = forks.fork(name, PLAIN)
    assert guest is not None, forks.figures.notes
    return guest


def restless_text(number: int) -> str:
    """The text of one of its prints."""
    return f"restless {number:08}".ljust(RESTLESS_BYTES - 1, ".") + "\n"
