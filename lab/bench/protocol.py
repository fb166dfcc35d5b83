"""The seam between the bench and its measures: what a measure is, what it may ask for, and how it says that it cannot run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol

from lab.bench.samples import Samples
from lab.errors import LabError
from lab.guest.transport_kind import TransportName
from lab.image.manifest import Credentials, ImageManifest
from lab.live.guest import LiveGuest


class NotHere(LabError):
    """What a measure, or one row of it, needs is not on this machine or not in this version: it is said and left out."""


class Forks(Protocol):
    """Makes forks of a template."""

    def take_snapshot(self) -> None:
        """Make the template, unless it is there already."""

    def fork(self, guest_id: str) -> LiveGuest:
        """A new guest, woken and answering; its ``boot_s`` counts from the start of its QEMU to the first answered command."""

    def close(self) -> None:
        """End what was prepared."""


class Context(Protocol):
    """What a measure may ask for. Guests are booted when they are asked for, and ended by whoever owns them."""

    @property
    def quick(self) -> bool:
        """Fewer repetitions: the figures say that everything runs, and little more."""

    @property
    def image_dir(self) -> Path:
        """Folder of the image of every guest."""

    @property
    def manifest(self) -> ImageManifest:
        """Its manifest."""

    @property
    def credentials(self) -> Credentials:
        """What its guests are entered with."""

    @property
    def accelerator(self) -> Literal["kvm", "tcg"]:
        """What QEMU runs the guests with."""

    @property
    def out(self) -> Path:
        """The report folder: a measure puts what it leaves into a folder of its own name there."""

    @property
    def suites(self) -> tuple[str, ...]:
        """What the user named for the measure of the suites; empty for its own choice."""

    @property
    def peer_python(self) -> Path | None:
        """The Python in which labgrid is installed, where there is one."""

    @property
    def clock(self) -> Callable[[], float]:
        """Monotonic seconds."""

    @property
    def cpu_clock(self) -> Callable[[], float]:
        """Processor seconds of the calling thread: for what only computes, whatever else the machine does meanwhile."""

    def repeat(self, usual: int, quick: int, *, most: int | None = None) -> int:
        """How often to take a reading: what the user asked for, or ``quick`` in a quick bench, or ``usual``.

        Args:
            usual: Without any wish.
            quick: In a quick bench.
            most: Never more than this, whatever was asked for: for readings that take minutes.
        """

    def detail(self, text: str) -> None:
        """Say what is being done right now."""

    def boot(self, guest_id: str, *, transport: TransportName = "winrm") -> AbstractContextManager[LiveGuest]:
        """A guest of its own for the ``with``: cold booted."""

    def guest(self) -> LiveGuest:
        """The guest that the measures share, booted when the first one asks; the lab's drivers and clients are in it."""

    def end_guest(self) -> None:
        """End the shared guest, if there is one: what follows needs the machine to itself."""

    def forks(self) -> Forks:
        """The way to forks.

        Raises:
            NotHere: There is none on this machine.
        """


class Measure(Protocol):
    """One thing that is measured."""

    @property
    def name(self) -> str:
        """How a user names it: ``winrm``."""

    @property
    def title(self) -> str:
        """What it says above its rows."""

    @property
    def needs(self) -> str:
        """What it takes, for ``lab bench --list``: a guest, minutes, an extra."""

    def run(self, context: Context) -> Samples:
        """Take the readings.

        Raises:
            NotHere: It cannot run here.
            LabError: It failed.
        """
