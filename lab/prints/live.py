"""A guest's prints for people, beside whoever drains them for tests: read from the file that its machine writes, or has left.

Nothing is asked of the guest or of its machine, so a reader more costs nobody anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.guest.lacks import in_words
from lab.prints.channel import PrintReader
from lab.prints.record import EventRecord, FaultRecord, GapRecord, PrintRecord, Record
from lab.prints.registry import channel_named
from lab.prints.stream import clean

#: What drivers and kernels use of DPFLTR's levels; others are bits of their own.
_LEVELS = {0: "ERROR", 1: "WARN", 2: "TRACE", 3: "INFO"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintFile:
    """Where one guest's prints are.

    Attributes:
        guest: The guest's name.
        kind: Name of the print channel, which knows how the file is read.
        path: The file.
        encoding: Of the drivers' texts.
        template: Key of the template that the guest is a fork of; empty for one that was booted.
        loaded: Drivers that were loaded in the template: what they printed then is not in the file.
    """

    guest: str
    kind: str
    path: Path
    encoding: str
    template: str = ""
    loaded: tuple[str, ...] = ()

    @property
    def lacks(self) -> str:
        """What of the guest's prints is not in the file, in words; empty for nothing."""
        if not self.template:
            return ""
        load = (
            f", and those of {' and '.join(self.loaded)} while the template loaded {_them(self.loaded)}" if self.loaded else ""
        )
        return f"{self.guest} is a fork of template {self.template}: prints of the template's boot are not shown{load}"


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"


def follow(file: PrintFile) -> PrintReader:
    """Return a reader of a guest's prints from the beginning of its file; not started.

    Raises:
        ConfigError: There is no such print channel.
    """
    return channel_named(file.kind).read(file.path, file.encoding)


def show(record: Record) -> str:
    """One record as a line for people: time, level, thread, text; empty for what is of no interest.

    The time is the guest's own, in seconds since its boot; of a kernel behind a debugger's port, which tells none, the host's.
    """
    if isinstance(record, PrintRecord):
        text = "\n".join(_after_first(clean(record.text).split("\n")))
        level = "" if record.level is None else _LEVELS.get(record.level, f"{record.level:#x}")
        thread = record.thread or (f"CPU {record.cpu}" if record.cpu is not None else "")
        return f"{_time(record)}  {level:5}  {thread:9}  {'[kernel] ' if record.by_kernel else ''}{text}"
    if isinstance(record, FaultRecord):
        return f"*** {in_words(record.lacks)}: {record.text}" if record.lacks else f"*** driver fault: {record.text}"
    if isinstance(record, GapRecord):
        return f"*** prints missing: {record.reason}"
    return f"[{record.kind}] {record.text}" if isinstance(record, EventRecord) else ""


def _after_first(lines: list[str]) -> Iterator[str]:
    """Further lines of a print stand below its first one."""
    yield lines[0]
    yield from (" " * 34 + line for line in lines[1:])


def _time(record: PrintRecord) -> str:
    if record.guest_time is not None:
        return f"{record.guest_time:12.3f}"
    at = time.localtime(record.host_time)
    return f"{time.strftime('%H:%M:%S', at)}.{int(record.host_time % 1 * 1000):03d}"


def lines_since(followed: PrintReader, position: int) -> tuple[list[str], int]:
    """The lines of all records from a position on, and the position behind them."""
    records = followed.records_since(position)
    return [line for record in records if (line := show(record))], position + len(records)


def all_lines(file: PrintFile) -> list[str]:
    """The lines of what is there by now."""
    followed = follow(file)
    followed.start()
    followed.close()
    return lines_since(followed, 0)[0]


def tell(file: PrintFile, out: Callable[[str], None], *, goes_on: Callable[[], bool], tail: int | None = None) -> None:
    """Give out a guest's prints as they come.

    Args:
        file: Its file.
        out: Given each line.
        goes_on: Asked before each look; after its first False what is there is read, and no more.
        tail: How many of the lines that are there already are given out; None: all.
    """
    shown = 0
    if tail is not None:
        already = follow(file)
        already.start()
        already.close()
        lines, shown = lines_since(already, 0)
        for line in lines[-tail:] if tail else []:
            out(line)
    followed = follow(file)
    followed.start()
    more = True
    try:
        while more:
            more = goes_on()
            if not more:
                followed.close()
            lines, shown = lines_since(followed, shown)
            for line in lines:
                out(line)
    finally:
        followed.close()
