"""A fork whose prints come through a kernel debugger, against the same fork without one, until it has answered a command."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final, Protocol

import psutil

from lab.bench.protocol import Context, Forks
from lab.bench.samples import Samples, Series
from lab.bench.targetforks import Debugger, TargetForks, build_program
from lab.errors import EvidenceLost
from lab.live.guest import LiveGuest
from lab.prints.record import GapRecord, PrintRecord, Record
from lab.snapshot.idle import wait_until_idle

#: Seconds for which the processes that wait for the next fork must be idle, and after which the wait is given up.
_QUIET_S: Final = 0.2
_PATIENCE_S: Final = 30.0
_PRINT_S: Final = 30.0

_LABELS: Final[Mapping[Debugger, str]] = {
    "none": "without a debugger",
    "waiting": "with a debugger, whose collector waits",
    "started": "with a debugger, whose collector starts",
}


class Side(Forks, Protocol):
    """Makes forks of one kind."""

    def get_ready(self) -> None:
        """Start in advance what the next fork needs; returns at once."""


class KdForkMeasure:
    """All kinds in turn; each fork counts from before the start of its QEMU, as in a run.

    Args:
        open_sides: Opens all kinds of forks.
        rest: Returns when the processes that were started in advance have started.
    """

    name = "kdfork"
    title = "a fork with a kernel debugger, until it has answered its first command"
    needs = "a compiler for the bare-metal target of the tests; a minute"

    def __init__(
        self,
        open_sides: Callable[[Context], AbstractContextManager[Mapping[Debugger, Side]]] | None = None,
        rest: Callable[[], None] | None = None,
    ) -> None:
        self._open = open_sides or open_targets
        self._rest = rest or wait_for_children

    def run(self, context: Context) -> Samples:
        """Make the templates, then fork in turn; every second turn has the other order."""
        context.end_guest()
        order = tuple(_LABELS)
        found: dict[Debugger, list[float]] = {debugger: [] for debugger in order}
        with self._open(context) as sides:
            for debugger, side in sides.items():
                context.detail(f"template {_LABELS[debugger]}")
                side.take_snapshot()
            for turn in range(1, context.repeat(20, 3) + 1):
                for debugger in order if turn % 2 else order[::-1]:
                    context.detail(f"fork {turn} {_LABELS[debugger]}")
                    # A worker does this while a test runs.
                    sides[debugger].get_ready()
                    self._rest()
                    guest = sides[debugger].fork(f"bench-{debugger}-{turn}")
                    try:
                        found[debugger].append(guest.boot_s)
                        if debugger != "none":
                            require_print(guest)
                    finally:
                        guest.close()
        series = tuple(
            Series(
                key=f"kdfork.{debugger}",
                label=f"fork {label}",
                unit="s",
                values=tuple(found[debugger]),
                reference="" if debugger == "none" else "kdfork.none",
                baseline=debugger == "none",
            )
            for debugger, label in _LABELS.items()
        )
        notes = (
            "the bare-metal target of the debugger's tests: a command prints one line, and the kernel waits for its debugger",
            "its forks take less time than those of a Windows, so the debugger is a larger part of them",
        )
        return Samples(series=series, notes=notes)


@contextmanager
def open_targets(context: Context) -> Iterator[Mapping[Debugger, Side]]:
    """The real kinds, in a scratch folder.

    Raises:
        NotHere: The target cannot be built here.
    """
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as scratch, ExitStack() as stack:
        folder = Path(scratch)
        context.detail("building the target")
        program = build_program(folder / "build")
        yield {
            debugger: stack.enter_context(TargetForks(context, program, debugger, folder / debugger)) for debugger in _LABELS
        }


def require_print(guest: LiveGuest) -> None:
    """Check that the one print of the first command arrived, and none before it was lost.

    Raises:
        EvidenceLost: It did not, or a print may be missing: such a fork is no faster one.
    """

    def decided(records: list[Record]) -> bool:
        return any(isinstance(record, (PrintRecord, GapRecord)) for record in records)

    records = guest.prints.wait(0, decided, timeout=_PRINT_S)
    told = [record for record in records if isinstance(record, (PrintRecord, GapRecord))]
    if len(told) != 1 or not isinstance(told[0], PrintRecord):
        raise EvidenceLost(f"{guest.guest_id}: its first command prints one line, but its record has: {told}")


def wait_for_children() -> None:
    """Return when the processes that this one has started are idle: a collector that waits has imported its modules."""

    def taken() -> float:
        total = 0.0
        for child in psutil.Process().children():
            try:
                times = child.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return total

    wait_until_idle(taken, quiet_s=_QUIET_S, share=0.0, patience_s=_PATIENCE_S, clock=time.monotonic)
