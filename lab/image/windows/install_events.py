"""What happens during an installation, as values: typed events, kept as JSON lines, and the guest's stage lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TextIO

EVENTS_FILE = "install.jsonl"
EventKind = Literal[
    "start", "key", "write", "reset", "stage", "screenshot", "monitor", "disk-error", "stop", "shutdown", "exit", "error"
]
#: Terminal control sequences: UEFI firmware draws its console on the port that the stage lines come from.
_ESCAPES = re.compile(rb"\x1b(?:\[[0-9;?=]*[ -/]*[@-~]|[@-Z\\^_=>])")
_STAGE = re.compile(r"(?<![\w])LAB ([A-Za-z][\w.-]*) ([A-Za-z][\w-]*)(?: +(.*\S))? *$")
#: A line without an end is kept up to here; firmware that draws boxes writes no line ends at all.
_LINE_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class InstallEvent:
    """Something that happened.

    Attributes:
        at_s: Seconds since the start of the VM.
        kind: What it was.
        detail: For people: the stage line, the reason of a reset, the file of a screen shot.
    """

    at_s: float
    kind: EventKind
    detail: str


@dataclass(frozen=True, slots=True)
class StageLine:
    """A line ``LAB <stage> <state> [reason]`` of the guest.

    Attributes:
        stage: For example ``winpe``.
        state: ``start``, ``ok`` or ``failed``; other words are allowed and only shown.
        reason: The rest of the line.
    """

    stage: str
    state: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.stage} {self.state} {self.reason}".rstrip()

    @property
    def is_end(self) -> bool:
        """The guest says that it is complete."""
        return (self.stage, self.state) == ("done", "ok")

    @property
    def is_failure(self) -> bool:
        """The guest says that a stage failed."""
        return self.state == "failed"


def parse_stage(line: str) -> StageLine | None:
    """The stage line in a line of console output; None when there is none."""
    match = _STAGE.search(line)
    return StageLine(match[1], match[2], match[3] or "") if match else None


class ConsoleReader:
    """Follows a serial port's log file as it grows.

    Args:
        file: The log; it need not exist yet.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0
        self._rest = b""
        self.grown = False

    def read(self) -> list[str]:
        """The complete lines since the last call, without control sequences.

        ``grown`` then says whether anything at all was new, an incomplete line too.
        """
        try:
            with self._file.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read()
        except FileNotFoundError:
            data = b""
        self.grown = bool(data)
        self._offset += len(data)
        return list(self._feed(data))

    @property
    def pending(self) -> str:
        """The incomplete last line: a prompt that waits for a key ends in no line end."""
        return _clean(self._rest)

    def _feed(self, data: bytes) -> Iterator[str]:
        *lines, self._rest = re.split(rb"[\r\n]+", self._rest + data)
        self._rest = self._rest[-_LINE_LIMIT:]
        for line in lines:
            if text := _clean(line):
                yield text


def _clean(line: bytes) -> str:
    # A sequence parts words: text on the line before the screen was cleared is separate from the text that follows.
    text = _ESCAPES.sub(b" ", line).decode("utf-8", "replace")
    return "".join(char for char in text if char.isprintable()).strip()


class EventLog:
    """The events of one installation, in memory and, each at once, in ``install.jsonl`` of the log folder.

    Args:
        folder: The log folder.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / EVENTS_FILE
        self.events: list[InstallEvent] = []
        self._stream: TextIO = self.file.open("w", encoding="utf-8")

    def add(self, at_s: float, kind: EventKind, detail: str = "") -> InstallEvent:
        """Record an event."""
        event = InstallEvent(round(at_s, 3), kind, detail)
        self.events.append(event)
        self._stream.write(json.dumps(asdict(event), ensure_ascii=False) + "\n")
        self._stream.flush()
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stream.close()


def load_events(file: Path) -> list[InstallEvent]:
    """Read a log that :class:`EventLog` wrote; a last line that was cut off is left out."""
    events = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            events.append(InstallEvent(**json.loads(line)))
        except ValueError:
            break
    return events
