"""A fork of the free guest for tests that use it without `lab run`. Only what is about a boot needs one of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lab.host.accel import QEMU, choose_accelerator, probe_accelerators
from lab.host.paths import cache_dir, runs_dir, templates_dir
from lab.host.qemu import qemu_version
from lab.image.folder import read_manifest
from lab.image.store import find_image
from lab.lease.image_source import make_forks
from lab.live.guest import LiveGuest
from lab.live.payload import Payload
from lab.snapshot.fork_request import ForkWish
from lab.snapshot.store import TemplateStore
from lab.snapshot.template import TemplateWish


@contextlib.contextmanager
def forked_guest(guest_id: str) -> Iterator[LiveGuest]:
    """A fork of the base template, with a real clock and no driver loaded.

    Runs of `lab run --clock real` use the same template.
    """
    image = find_image("wine")
    wish = TemplateWish(
        image_dir=image,
        manifest=read_manifest(image),
        payload=Payload(),
        accelerator=choose_accelerator("auto", probe_accelerators(cache_dir())),
        qemu=qemu_version(QEMU),
        transport="winrm",
        smp=1,
    )
    store = TemplateStore(templates_dir())
    forks = make_forks(wish, store, runs_dir=runs_dir(), boot_timeout=None, on_close=lambda folder, _kept: folder.remove())
    with contextlib.closing(forks):
        guest = forks.fork(guest_id, ForkWish(1))
        assert guest is not None, forks.figures.notes
        with contextlib.closing(guest):
            yield guest
