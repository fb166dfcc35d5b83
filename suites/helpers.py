"""Shared parts of all suites: error codes, ticks, and the types of the suites' own fixtures."""

from __future__ import annotations

import itertools
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pytest

from lab.guest.probe import ProbeResult, ReadResult
from lab.prints.record import PrintRecord
from lab.prints.stream import PrintStream
from lab.suite import timing

FILE_NOT_FOUND = 2
NO_USABLE_BUFFER = 31
NOT_SUPPORTED = 50
OPERATION_ABORTED = 995
ALREADY_RUNNING = 1056
INVALID_CONTROL = 1052
NOT_ACTIVE = 1062

IO_PENDING = 997
#: While several reads wait, each tick serves one: a read after so many others has their seconds, however late the host is.
SHIELD = 30
#: Least average of guest seconds between two ticks: the timer is armed again after the prints of a tick. A starved
#: guest was seen to stamp a tick half a second early: the tick count that Wine uses for timestamps had stopped.
SURELY_BETWEEN_TICKS_S = 0.7

#: Documented: ticks come 1.000 s and 1.001 s apart, and the two prints of a tick within 0.3 ms. With a virtual clock a guest
#: shows that whatever its host does; with a real one, a tick can be late without the driver's fault.
TICK_S = pytest.approx(1.0, abs=0.005)
TOGETHER_S = 0.001

ADDRESS = re.compile("当前DPC Irp: 0x([0-9a-f]{1,8})")


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick of the async driver that completed a read, as its two prints show.

    Attributes:
        at: Guest seconds of the first print, see :attr:`lab.prints.record.PrintRecord.when`.
        apart: Guest seconds from the first to the second.
        irp: Low 32 bits of the IRP's address.
        asked: The length that the read asked for.
    """

    at: float
    apart: float
    irp: int
    asked: int


class Ticks(Protocol):
    """Waits for the prints of ticks that complete reads of these lengths, in this order, with nothing in between."""

    def __call__(self, *lengths: int, timeout: float = 20) -> list[Tick]:
        """Return the ticks; ``timeout`` is in seconds of the host."""


def slots(letters: str) -> list[str]:
    """The texts of the sync driver's slots: ``slots("AB")`` are the first two."""
    return [f"hi, lyshark {letter}" for letter in letters]


#: What five reads of a crowd deliver together.
EACH_SLOT_ONCE = Counter(slots("ABCDE"))


def crowd(kind: str, names: str, script: str) -> str:
    """The same script once for each name, as a thread (``@``) or a process (``$``) of its own; ``{name}`` is its name."""
    parts = [part.strip() for part in script.split(";")]
    return "; ".join(f"{kind}{name} {part.replace('{name}', name)}" for name in names for part in parts)


def expect_ticks(prints: PrintStream, lengths: Sequence[int], *, timeout: float) -> list[Tick]:
    """The ticks that completed reads of ``lengths``; fails when other prints came."""
    __tracebackhide__ = True
    wanted = [expected for length in lengths for expected in (ADDRESS, f"读取DPC长度: {length}")]
    records = prints.expect(wanted, timeout=timeout)
    return [_tick(*records[i : i + 2]) for i in range(0, len(records), 2)]


def _tick(first: PrintRecord, second: PrintRecord) -> Tick:
    address = ADDRESS.match(first.text)
    assert address is not None
    assert first.when is not None, f"print source {first.source} gives no time that tells"
    assert second.when is not None, f"print source {second.source} gives no time that tells"
    asked = int(second.text.rsplit(maxsplit=1)[-1])
    return Tick(at=first.when, apart=second.when - first.when, irp=int(address[1], 16), asked=asked)


def texts(prints: PrintStream) -> list[str]:
    """All prints of the test up to now, closed by a marker."""
    prints.drain()
    return prints.texts()


def served_lengths(prints: PrintStream) -> list[int]:
    """The lengths asked for by the reads that ticks have served so far, in order."""
    mark = "读取DPC长度: "
    return [int(text.removeprefix(mark)) for text in texts(prints) if text.startswith(mark)]


def served_of(done: ProbeResult, tag: str) -> int:
    """How many reads of a tag a tick has completed."""
    return sum(read.error == 0 for read in done.tagged(tag))


def gaps(served: Sequence[Tick]) -> list[float]:
    """Guest seconds from tick to tick."""
    return [later.at - earlier.at for earlier, later in itertools.pairwise(served)]


def check_ticks_are_a_second_apart(served: Sequence[Tick], clock: str) -> None:
    """Check the time between ticks that came in a row.

    Args:
        served: At least two.
        clock: Their guest's, ``real`` or ``virtual``. With either, the best interval counts, for a wrong period is wrong in
            all of them. No host makes a tick of a virtual clock late, but the guest's own processes can: the free guest runs
            DPCs in a thread like any other, and 1.133 s were seen once while a client's process started.
    """
    __tracebackhide__ = True
    apart = gaps(served)
    with timing("ticks are one second apart"):
        if clock == "virtual":
            assert round(min(apart), 3) == TICK_S
        else:
            assert statistics.mean(apart) > SURELY_BETWEEN_TICKS_S
            assert min(apart) < 1.4


def check_prints_come_together(served: Sequence[Tick], clock: str) -> None:
    """Check the time between the two prints of each tick; with a real clock, of the best one."""
    __tracebackhide__ = True
    with timing("the two prints of a tick come together"):
        assert all(tick.apart >= 0 for tick in served)
        if clock == "virtual":
            # Time stamps have whole milliseconds; half a one more for binary fractions.
            assert min(tick.apart for tick in served) < TOGETHER_S * 1.5
        else:
            assert min(tick.apart for tick in served) < 0.1


def shield_held(done: ProbeResult, tag: str = "before") -> None:
    """Check that reads which were left first, one for each tick, were still pended when they were taken back."""
    __tracebackhide__ = True
    with timing("the reads that were left first are still pended"):
        assert OPERATION_ABORTED in [read.error for read in done.tagged(tag)]


def left_and_taken_back(count: int, *, name: str = "") -> str:
    """Leave reads on handle ``h``, then take them back one by one for more than a second.

    The oldest is always the next to be taken back: so a tick always completes the same one that is taken back.
    """
    left = [f"aread h{name} 13 tag={name}t{i}" for i in range(count)]
    taken_back = [f"cancel {name}t{i}; sleep 30" for i in range(count)]
    return "; ".join(left + taken_back)


def every_read_ended_once(done: ProbeResult, prints: PrintStream, *, reads: int) -> None:
    """Check that each read was either served, with its prints, or cancelled, without."""
    ends = Counter(read.error for read in done.reads)
    assert set(ends) <= {0, OPERATION_ABORTED}
    assert ends.total() == reads
    assert len(served_lengths(prints)) == ends[0]


def delivered(reads: tuple[ReadResult, ...]) -> Counter[str]:
    """How often each slot came; reads that left the buffer unchanged do not count."""
    return Counter(read.text for read in reads if read.text.startswith("hi, "))
