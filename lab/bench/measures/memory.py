"""Memory of forks: the kernel's proportional set sizes of one, two, … QEMU processes that share a template's pages."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from pathlib import Path

from lab.bench.protocol import Context
from lab.bench.samples import Samples, Series
from lab.errors import LabError
from lab.live.guest import LiveGuest

_MIB = 1 << 20


class MemoryMeasure:
    """Forks are made one after the other and stay; each has answered a command when the sizes are read."""

    name = "memory"
    title = "memory of forks side by side"
    needs = "forks, up to eight at once; half a minute"

    def run(self, context: Context) -> Samples:
        """Read the sum of all sizes after each fork."""
        forks = context.forks()
        forks.take_snapshot()
        sums: list[float] = []
        with ExitStack() as stack:
            guests: list[LiveGuest] = []
            for number in range(1, context.repeat(8, 3, most=8) + 1):
                context.detail(f"fork {number}")
                guest = forks.fork(f"bench-memory-{number}")
                stack.callback(guest.close)
                guests.append(guest)
                sums.append(sum(pss_of(one.machine.pid) for one in guests) / _MIB)
        series = [Series(key="memory.first", label="the first fork", unit="MiB", values=(sums[0],))]
        if more := tuple(after - before for before, after in itertools.pairwise(sums)):
            series.append(Series(key="memory.more", label="each further fork", unit="MiB", values=more))
        series.append(Series(key="memory.all", label=f"all {len(sums)} together", unit="MiB", values=(sums[-1],)))
        note = f"Pss of QEMU processes, shared pages in parts; a guest has {context.manifest.machine.memory_mb} MiB of RAM"
        return Samples(series=tuple(series), notes=(note,))


def pss_of(pid: int, *, proc: Path = Path("/proc")) -> int:
    """Proportional set size of a process in bytes: its own pages, and its part of those that it shares.

    Raises:
        LabError: The kernel does not report it.
    """
    try:
        text = (proc / str(pid) / "smaps_rollup").read_text(encoding="ascii")
        return next(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("Pss:"))
    except (OSError, StopIteration) as error:
        raise LabError(f"the memory of process {pid} cannot be read: {error}", hint="needs Linux 4.14 or later") from error
