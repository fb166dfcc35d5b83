"""What a pool needs of forks: the request, the source, and figures for the report. :mod:`lab.snapshot.forks` makes them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from lab.live.guest import LiveGuest
from lab.vm.spec import Clock

if TYPE_CHECKING:
    from lab.snapshot.template import Template

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ForkWish:
    """What a fork must be like.

    Attributes:
        smp: Virtual CPUs.
        drivers: Names of the drivers that are loaded in it, sorted.
        clock: ``virtual`` or ``real``.
    """

    smp: int
    drivers: tuple[str, ...] = ()
    clock: Clock = "real"


@dataclass(slots=True, kw_only=True)
class ForkFigures:
    """Counts of a worker's templates and forks, for the report.

    Attributes:
        made: Templates that this worker made, by key. A template that was made in the background may serve other workers' forks
            only.
        used: Templates that it took forks from, by key.
        failed: Forks that did not resume.
        notes: One sentence each, for the reader of the report: why guests were booted although forks were requested.
    """

    made: dict[str, Template] = field(default_factory=dict)
    used: dict[str, Template] = field(default_factory=dict)
    failed: int = 0
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Add a note, once, and log it as a warning."""
        if text not in self.notes:
            _LOG.warning("%s", text)
            self.notes.append(text)


@runtime_checkable
class ForkSource(Protocol):
    """Where forks come from."""

    @property
    def figures(self) -> ForkFigures:
        """For the report."""

    def fork(self, guest_id: str, wish: ForkWish) -> LiveGuest | None:
        """A fork that answers commands; None if there is no template and a guest must be booted.

        Raises:
            LabError: The fork did not resume.
        """

    def expect(self, counts: Mapping[ForkWish, int], *, beside: Callable[[], AbstractContextManager[None]]) -> None:
        """Announce which forks the run will request, so that no time is spent on a template that does not pay.

        Without this call, each fork comes from its own template, which is made first if necessary.

        Args:
            counts: Wish → how many forks of it the whole run, with all its workers, may want.
            beside: A context for background work, so that it does not disturb a test that holds the host lock.
        """

    def prepare(self, guest_id: str, wish: ForkWish) -> None:
        """Prepare a fork in the background for the next :meth:`fork` of the same wish; returns at once."""

    def distrust(self, wish: ForkWish, reason: str) -> None:
        """Report that forks of this request failed to resume twice: their template is removed and made again."""

    def close(self) -> None:
        """End the prepared fork. Idempotent."""


@runtime_checkable
class Forking(Protocol):
    """A :class:`~lab.lease.protocol.GuestSource` whose guests can be forked."""

    @property
    def forks(self) -> ForkSource | None:
        """Where this process's forks come from; None where this host cannot take snapshots."""
