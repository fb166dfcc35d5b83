"""The Protocol of everything that guests come from."""

from __future__ import annotations

from typing import Protocol

from lab.image.manifest import ImageManifest
from lab.live.guest import LiveGuest
from lab.live.payload import Payload
from lab.vm.spec import Clock


class GuestSource(Protocol):
    """Where guests come from: one image on one host."""

    @property
    def manifest(self) -> ImageManifest:
        """The image of all its guests."""

    @property
    def payload(self) -> Payload:
        """The files that are copied into every guest."""

    @property
    def accelerator(self) -> str:
        """``kvm`` or ``tcg``."""

    @property
    def qemu(self) -> str:
        """QEMU's version, for the report."""

    @property
    def clock(self) -> Clock:
        """The clock of guests of one virtual CPU, see :func:`lab.live.guest_clock.choose_clock`."""

    def boot(self, guest_id: str, *, smp: int | None = None, clock: Clock = "real") -> LiveGuest:
        """Boot a fresh guest and wait until it answers.

        Args:
            guest_id: Its name in reports.
            smp: Virtual CPUs; None for the image's own number.
            clock: ``virtual`` only where :attr:`clock` is.
        """
