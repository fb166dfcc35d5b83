"""A context with simulated guests, clock and forks, and measures with given results."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lab.bench.protocol import Context, Forks, NotHere
from lab.bench.samples import Samples, Series
from lab.guest.transport_kind import TransportName
from lab.image.manifest import Credentials, ImageManifest
from lab.live.guest import LiveGuest
from tests.simulated import SimulatedSource


class TickingClock:
    """Each reading takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@dataclass
class FakeForks:
    """Forks of the simulated guest that resume in half a second each."""

    source: SimulatedSource
    snapshots: int = 0
    closed: bool = False
    forked: list[LiveGuest] = field(default_factory=list)

    def take_snapshot(self) -> None:
        self.snapshots += 1

    def fork(self, guest_id: str) -> LiveGuest:
        guest = self.source.boot(guest_id)
        guest.boot_s = 0.5
        self.forked.append(guest)
        return guest

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeContext:
    """A :class:`lab.bench.protocol.Context` over simulated guests."""

    source: SimulatedSource
    out: Path
    quick: bool = False
    count: int | None = None
    suites: tuple[str, ...] = ()
    peer_python: Path | None = None
    clock: Callable[[], float] = field(default_factory=TickingClock)
    cpu_clock: Callable[[], float] = field(default_factory=TickingClock)
    make_forks: Forks | None = None
    accelerator: Literal["kvm", "tcg"] = "tcg"
    credentials: Credentials = field(default_factory=lambda: Credentials(username="lab", password="secret"))
    details: list[str] = field(default_factory=list)
    shared: LiveGuest | None = None
    booted: list[LiveGuest] = field(default_factory=list)

    @property
    def image_dir(self) -> Path:
        return self.source.folder

    @property
    def manifest(self) -> ImageManifest:
        return self.source.manifest

    def repeat(self, usual: int, quick: int, *, most: int | None = None) -> int:
        wanted = self.count or (quick if self.quick else usual)
        return min(wanted, most) if most else wanted

    def detail(self, text: str) -> None:
        self.details.append(text)

    @contextlib.contextmanager
    def boot(self, guest_id: str, *, transport: TransportName = "winrm") -> Iterator[LiveGuest]:
        guest = self.source.boot(guest_id)
        guest.boot_s = 10.0
        self.booted.append(guest)
        try:
            yield guest
        finally:
            guest.close()

    def guest(self) -> LiveGuest:
        if self.shared is None:
            self.shared = self.source.boot("bench")
        return self.shared

    def end_guest(self) -> None:
        guest, self.shared = self.shared, None
        if guest is not None:
            guest.close()

    def forks(self) -> Forks:
        if self.make_forks is None:
            raise NotHere("no forks here")
        return self.make_forks


@dataclass
class FakeMeasure:
    """Ends as the test says."""

    name: str
    ends: Samples | BaseException
    title: str = "a made-up measure"
    needs: str = "nothing"
    runs: int = 0

    def run(self, context: Context) -> Samples:
        self.runs += 1
        if isinstance(self.ends, BaseException):
            raise self.ends
        return self.ends


class SilentProgress:
    """Records its stages."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def detail(self, text: str) -> None:
        """Nothing to do."""

    def done(self, text: str) -> None:
        """Nothing to do."""


def series(key: str, *values: float, **changes: Any) -> Series:
    """A series, in seconds by default."""
    given: dict[str, Any] = {"label": key, "unit": "s"}
    return Series(key=key, values=values, **(given | changes))


def samples(*found: Series, notes: tuple[str, ...] = ()) -> Samples:
    return Samples(series=found, notes=notes)
