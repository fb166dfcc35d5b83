"""The interface between the bench and its measures: what a measure is, may ask for, and raises when it cannot run."""

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
    """This host or this version lacks what a measure, or one row of it, needs: the report says so and leaves it out."""


class Forks(Protocol):
    """Makes forks of a template."""

    def take_snapshot(self) -> None:
        """Make the template, unless it is there already."""

    def fork(self, guest_id: str) -> LiveGuest:
        """A new guest, resumed and answering.

        Its ``boot_s`` counts from the start of its QEMU to the first answered command.
        """

    def close(self) -> None:
        """End what was prepared."""


class Context(Protocol):
    """What a measure may ask for. Guests are booted on demand, and ended by their owner."""

    @property
    def quick(self) -> bool:
        """Fewer repetitions: the figures show little more than that everything runs."""

    @property
    def image_dir(self) -> Path:
        """Folder of the image of every guest."""

    @property
    def manifest(self) -> ImageManifest:
        """Its manifest."""

    @property
    def credentials(self) -> Credentials:
        """The credentials of its guests."""

    @property
    def accelerator(self) -> Literal["kvm", "tcg"]:
        """What QEMU runs the guests with."""

    @property
    def out(self) -> Path:
        """The report folder: a measure writes its files into a subfolder of its own name."""

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
        """Processor seconds of the calling thread: for pure computations, independent of other load on the host."""

    def repeat(self, usual: int, quick: int, *, most: int | None = None) -> int:
        """How often to take a reading: what the user asked for, or ``quick`` in a quick bench, or ``usual``.

        Args:
            usual: By default.
            quick: In a quick bench.
            most: Never more than this, whatever was asked for: for readings that take minutes.
        """

    def detail(self, text: str) -> None:
        """Show what is being done right now."""

    def boot(self, guest_id: str, *, transport: TransportName = "winrm") -> AbstractContextManager[LiveGuest]:
        """A guest for the ``with`` alone, cold booted."""

    def guest(self) -> LiveGuest:
        """The guest that the measures share, booted when the first one asks; it has the lab's drivers and clients."""

    def end_guest(self) -> None:
        """End the shared guest, if there is one: what follows needs the host without other guests."""

    def forks(self) -> Forks:
        """Makes forks.

        Raises:
            NotHere: This host cannot make any.
        """


class Measure(Protocol):
    """One thing that is measured."""

    @property
    def name(self) -> str:
        """Its name for users: ``winrm``."""

    @property
    def title(self) -> str:
        """The heading of its rows."""

    @property
    def needs(self) -> str:
        """What it requires, for ``lab bench --list``: a guest, minutes, an extra."""

    def run(self, context: Context) -> Samples:
        """Take the readings.

        Raises:
            NotHere: It cannot run here.
            LabError: It failed.
        """
