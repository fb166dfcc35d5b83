"""Kernel prints: how many arrive in a second, and whether one is missing. The bench's own driver numbers them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.bench.protocol import Context
from lab.bench.samples import Samples, Series
from lab.errors import EvidenceLost
from lab.guest.probe import run_probe
from lab.live.guest import LiveGuest
from lab.live.payload import GUEST_FOLDER
from lab.prints.record import GapRecord, PrintRecord, Record

#: Folder of the driver that prints.
FLOOD_DRIVER = Path(__file__).parents[1] / "flood"
SERVICE = "LabFlood"
_LINK = r"\\.\LabFlood"
_PROBE = f"{GUEST_FOLDER}\\drvprobe.exe"
_NUMBER = re.compile(r"flood (\d+)\s*\Z")
_TIMEOUT_S = 300.0
_CALLERS = 4


@dataclass(frozen=True, slots=True)
class Tally:
    """What arrived of a flood.

    Attributes:
        arrived: Prints of the flood.
        lost: Numbers that are missing.
        gaps: Gaps that the source itself reports.
        span_s: Host seconds from the first print's arrival to the last one's.
        in_order: The numbers arrived in order.
    """

    arrived: int
    lost: int
    gaps: int
    span_s: float
    in_order: bool


class PrintsMeasure:
    """One caller, then several at once, each print numbered; a marker after them shows that all of them had time to arrive."""

    name = "prints"
    title = "kernel prints at the highest rate that a driver makes them"
    needs = "one guest; a minute"

    def run(self, context: Context) -> Samples:
        """Flood the print path of the shared guest."""
        guest = context.guest()
        source = guest.prints.name
        count = 400 if context.quick else 4000
        guest.services.start(SERVICE)
        rates: dict[int, list[float]] = {1: [], _CALLERS: []}
        lost: list[float] = []
        notes: list[str] = []
        first = 1
        for turn in range(context.repeat(4, 1, most=20)):
            for callers, found in rates.items():
                context.detail(f"{count} prints of {callers} caller(s), {turn + 1}")
                records = flood(guest, count // callers, callers, token=f"bench-{turn}-{callers}")
                tally = count_up(records, first, count)
                first += count
                lost.append(float(tally.lost))
                found.append(tally.arrived / max(tally.span_s, 1e-6))
                if tally.gaps or not tally.in_order:
                    notes.append(f"{callers} caller(s), round {turn + 1}: {tally.gaps} gaps, in order: {tally.in_order}")
        guest.services.stop(SERVICE)
        series = [
            Series(
                key=f"prints.{source}.rate.{callers}",
                label=f"source {source}: one caller" if callers == 1 else f"source {source}: {callers} callers at once",
                unit="prints/s",
                values=tuple(found),
                higher_is_better=True,
            )
            for callers, found in rates.items()
        ]
        label = f"lost of {count * len(lost)} prints (source {source})"
        series.append(Series(key=f"prints.{source}.lost", label=label, unit="prints", values=tuple(lost)))
        return Samples(series=tuple(series), notes=tuple(notes))


def flood(guest: LiveGuest, each: int, callers: int, *, token: str) -> list[Record]:
    """Make the driver print, and return all records up to a marker after its last print.

    Args:
        guest: With the driver loaded.
        each: Prints of each caller.
        callers: Threads that read at once.
        token: Unique in this guest's life.
    """
    before = guest.prints.mark(f"{token}-begin", timeout=_TIMEOUT_S)
    names = [f"t{number}" for number in range(callers)]
    script = "; ".join(f"@{name} open {name} {_LINK}; @{name} read {name} {each}; @{name} close {name}" for name in names)
    result = run_probe(guest.transport, _PROBE, f"{script}; go", timeout=_TIMEOUT_S)
    if any(result.errors):
        raise EvidenceLost(f"the driver that prints refused: Win32 errors {sorted(set(result.errors))}")
    guest.prints.mark(f"{token}-end", timeout=_TIMEOUT_S)
    return guest.prints.records_since(before)


def count_up(records: Sequence[Record], first: int, count: int) -> Tally:
    """Compare what arrived with the numbers ``first`` to ``first + count - 1``."""
    numbers: list[int] = []
    times: list[float] = []
    for record in records:
        if isinstance(record, PrintRecord) and (match := _NUMBER.match(record.text)):
            numbers.append(int(match[1]))
            times.append(record.host_time)
    return Tally(
        arrived=len(numbers),
        lost=len(set(range(first, first + count)) - set(numbers)),
        gaps=sum(isinstance(record, GapRecord) for record in records),
        span_s=max(times) - min(times) if times else 0.0,
        in_order=numbers == sorted(numbers),
    )
