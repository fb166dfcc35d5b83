"""Shows a guest's prints while tests run: reads the file that its VM writes, or has written.

The guest and its VM are not involved, so an additional reader costs nothing.
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

#: The usual DPFLTR levels; other values are shown as bits.
_LEVELS = {0: "ERROR", 1: "WARN", 2: "TRACE", 3: "INFO"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintFile:
    """The file with one guest's prints.

    Attributes:
        guest: The guest's name.
        kind: Name of the print channel, which reads the file.
        path: The file.
        encoding: Encoding of the drivers' texts.
        template: Key of the template that the guest is a fork of; empty for one that was booted.
        loaded: Drivers that were loaded in the template: their prints of that time are not in the file.
    """

    guest: str
    kind: str
    path: Path
    encoding: str
    template: str = ""
    loaded: tuple[str, ...] = ()

    @property
    def lacks(self) -> str:
        """Which of the guest's prints are not in the file, in words; empty if all are."""
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
    """One record as a line for people: time, level, thread, text; empty for records that are not shown.

    The time is the guest's own, in seconds since its boot; for a kernel on a debugger's port, which sends no time, the host's.
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
    """Indent the further lines of a print below its first one."""
    yield lines[0]
    yield from (" " * 34 + line for line in lines[1:])


def _time(record: PrintRecord) -> str:
    if record.guest_time is not None:
        return f"{record.guest_time:12.3f}"
    at = time.localtime(record.host_time)
    return f"{time.strftime('%H:%M:%S', at)}.{int(record.host_time % 1 * 1000):03d}"


def lines_since(followed: PrintReader, position: int) -> tuple[list[str], int]:
    """The lines of all records from a position on, and the position after them."""
    records = followed.records_since(position)
    return [line for record in records if (line := show(record))], position + len(records)


def all_lines(file: PrintFile) -> list[str]:
    """The lines of all records so far."""
    followed = follow(file)
    followed.start()
    followed.close()
    return lines_since(followed, 0)[0]


def print_lines(file: PrintFile, out: Callable[[str], None], *, goes_on: Callable[[], bool], tail: int | None = None) -> None:
    """Pass a guest's prints to ``out`` as they come.

    Args:
        file: Its file.
        out: Called with each line.
        goes_on: Checked before each read; after the first False, the rest of the file is read and the call returns.
        tail: How many of the existing lines are passed on; None: all.
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
