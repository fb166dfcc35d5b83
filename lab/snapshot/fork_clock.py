"""The clock of a guest that was resumed, where the print channel has no agent in the guest that sets it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from lab.errors import CommandFailed, SnapshotFailed
from lab.guest.protocol import Transport
from lab.guest.standing import StandingProgram
from lab.image.kind import ForkClock
from lab.image.manifest import ImageManifest
from lab.image.registry import kind_of

_LOG = logging.getLogger(__name__)


def clock_programs(manifest: ImageManifest) -> tuple[StandingProgram, ...]:
    """The programs that set the clock of an image's guests: none or one."""
    kind = kind_of(manifest)
    return (kind.clock_program,) if isinstance(kind, ForkClock) else ()


def set_fork_clock(
    manifest: ImageManifest, transport: Transport, *, timeout: float, wall: Callable[[], float] = time.time
) -> None:
    """Set the clock of a running guest over its transport, if that is how its kind does it.

    Args:
        manifest: The guest's image.
        transport: A connection to it.
        timeout: Seconds for all of it.
        wall: Wall clock in seconds.

    Raises:
        LabError: See :meth:`lab.image.kind.ForkClock.set_clock`.
    """
    kind = kind_of(manifest)
    if isinstance(kind, ForkClock):
        moved = kind.set_clock(transport, timeout=timeout, wall=wall)
        _LOG.info("%r: the guest's clock was moved by %+.1f s", transport, moved)


def require_fork_clock(manifest: ImageManifest, transport: Transport, *, timeout: float) -> None:
    """Set the clock of a guest that is to become a template: if that fails here, it would fail in each fork.

    Raises:
        SnapshotFailed: The guest refuses it; with its message.
        LabError: The guest does not answer.
    """
    try:
        set_fork_clock(manifest, transport, timeout=timeout)
    except CommandFailed as error:
        raise SnapshotFailed(f"the clock of forks cannot be set: {error.message}", hint=error.hint) from error
