"""The context of a real bench: one image, guests booted from it when a measure asks, all of them ended at the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from lab.bench.protocol import Forks
from lab.guest.transport_kind import TransportName
from lab.image.manifest import Credentials, ImageManifest
from lab.image.progress import Progress
from lab.lease.image_source import ImageSource
from lab.live.deploy import deploy
from lab.live.guest import LiveGuest
from lab.live.payload import Payload


@dataclass(slots=True, kw_only=True)
class Bench:
    """A :class:`lab.bench.protocol.Context`; used as a context manager, which ends the shared guest.

    Attributes:
        source: Boots guests.
        payload: Files that are copied into the shared guest.
        credentials: Credentials of the guests.
        out: The report folder.
        progress: Gets a line for each step.
        quick: Fewer repetitions.
        count: How often a reading is taken, where the user set it.
        suites: What the user named for the measure of the suites.
        peer_python: The Python with labgrid, where the user named one.
        make_forks: Makes the :class:`lab.bench.protocol.Forks`.
        clock: Monotonic seconds.
        cpu_clock: Processor seconds of the calling thread.
    """

    source: ImageSource
    payload: Payload
    credentials: Credentials
    out: Path
    progress: Progress
    make_forks: Callable[[], Forks]
    quick: bool = False
    count: int | None = None
    suites: tuple[str, ...] = ()
    peer_python: Path | None = None
    clock: Callable[[], float] = time.monotonic
    cpu_clock: Callable[[], float] = time.thread_time
    _guest: LiveGuest | None = field(default=None, init=False)
    _forks: Forks | None = field(default=None, init=False)

    @property
    def image_dir(self) -> Path:
        """Folder of the image of every guest."""
        return self.source.image_dir

    @property
    def manifest(self) -> ImageManifest:
        """Its manifest."""
        return self.source.manifest

    @property
    def accelerator(self) -> Literal["kvm", "tcg"]:
        """What QEMU runs the guests with."""
        return self.source.accelerator

    def repeat(self, usual: int, quick: int, *, most: int | None = None) -> int:
        """How often to take a reading; see :meth:`lab.bench.protocol.Context.repeat`."""
        wanted = self.count or (quick if self.quick else usual)
        return min(wanted, most) if most else wanted

    def detail(self, text: str) -> None:
        """Show what is being done right now."""
        self.progress.detail(text)

    @contextlib.contextmanager
    def boot(self, guest_id: str, *, transport: TransportName = "winrm") -> Iterator[LiveGuest]:
        """A guest of its own, cold booted."""
        # The shared guest would compete for the processor with the boot that is measured.
        self.end_guest()
        guest = replace(self.source, transport=transport).boot(guest_id)
        try:
            yield guest
        finally:
            guest.close()

    def guest(self) -> LiveGuest:
        """The guest that the measures share; a new one when the last measure left it in a bad state."""
        if self._guest is not None and not self._guest.answers():
            self.end_guest()
        if self._guest is None:
            self.detail("booting a guest")
            guest = self.source.boot("bench")
            try:
                deploy(guest, self.payload)
            except BaseException:
                guest.close()
                raise
            self._guest = guest
        return self._guest

    def forks(self) -> Forks:
        """Makes forks."""
        self.end_guest()
        if self._forks is None:
            self._forks = self.make_forks()
        return self._forks

    def end_guest(self) -> None:
        """End the shared guest, if there is one; see :meth:`lab.bench.protocol.Context.end_guest`."""
        guest, self._guest = self._guest, None
        if guest is not None:
            guest.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.end_guest()
        finally:
            forks, self._forks = self._forks, None
            if forks is not None:
                forks.close()
