"""What a pool asks of forks: the request, the source, and figures for the report. :mod:`lab.snapshot.forks` makes them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from lab.live.guest import LiveGuest

if TYPE_CHECKING:
    from lab.snapshot.template import Template

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ForkWish:
    """What a fork must be like.

    Attributes:
        smp: Virtual CPUs.
        drivers: Names of the drivers that are loaded in it, sorted.
    """

    smp: int
    drivers: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class ForkFigures:
    """What became of a worker's templates and forks, for the report.

    Attributes:
        made: Templates that this worker made, by key. Forks of one that was made beside the tests may all be other workers'.
        used: Templates that it took forks from, by key.
        failed: Forks that did not resume.
        notes: What the reader should know, one sentence each: why guests were booted although forks were requested.
    """

    made: dict[str, Template] = field(default_factory=dict)
    used: dict[str, Template] = field(default_factory=dict)
    failed: int = 0
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Add a note, once; it is a warning of the log, too."""
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
        """A fork that answers commands; None when there is no template to be had, so that a guest must be booted.

        Raises:
            LabError: The fork did not resume.
        """

    def expect(self, counts: Mapping[ForkWish, int], *, beside: Callable[[], AbstractContextManager[None]]) -> None:
        """Say which forks the run will ask for, so that no time goes into a template that is not worth it.

        Without this, a fork is always taken from a template of its own, made first where there is none.

        Args:
            counts: Wish → how many forks of it the whole run, with all its workers, may want.
            beside: Entered around what is done in the background, so that it disturbs no test that has the host alone.
        """

    def prepare(self, guest_id: str, wish: ForkWish) -> None:
        """Prepare a fork in the background for the next :meth:`fork` of the same wish; returns at once."""

    def distrust(self, wish: ForkWish, reason: str) -> None:
        """Forks of this wish did not resume, twice: remove their template, so that it is made again."""

    def close(self) -> None:
        """End what was prepared. Safe to call twice."""


@runtime_checkable
class Forking(Protocol):
    """A :class:`~lab.lease.protocol.GuestSource` whose guests can be forked."""

    @property
    def forks(self) -> ForkSource | None:
        """Where this process's forks come from; None where this host cannot take snapshots."""
