"""Where a log of the debug console begins: the log of a fork begins in the middle of its print relay's session.

The position is kept in two places: as a :class:`~lab.prints.resume.PrintsState` in the template, and, for each fork, in a file
beside its log. Without that file, a log that begins with record 812 would look like one whose first 812 records were lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from lab.errors import ConfigError
from lab.prints.relay.decoder import RelayDecoder, RelayPosition
from lab.prints.resume import PrintsState

#: Added to the name of a log, without its ``.log``.
SUFFIX: Final = ".start.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayStart:
    """Where a log begins.

    Attributes:
        position: Position of the print relay; None: the guest boots.
        tail: The bytes that came after the last record and before the log: the log begins in the middle of the next record.
    """

    position: RelayPosition | None = None
    tail: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    session: int
    sequence: int
    unloaded: bool = False
    tail: str = ""


_ADAPTER: Final = TypeAdapter(_Stored)


def start_file(log: Path) -> Path:
    """The file that says where a log begins; a guest that was booted has none."""
    return log.with_name(log.name.removesuffix(".log") + SUFFIX)


def write_start(log: Path, start: RelayStart) -> None:
    """Write the file beside a log that begins in the middle of a session; nothing for another log."""
    at = start.position
    if at is not None:
        stored = _Stored(session=at.session, sequence=at.sequence, unloaded=at.unloaded, tail=start.tail.hex())
        start_file(log).write_bytes(_ADAPTER.dump_json(stored, indent=1))


def read_start(log: Path) -> RelayStart:
    """Where a log begins: with the guest's boot, unless a file beside it says something else.

    Raises:
        ConfigError: That file is damaged.
    """
    file = start_file(log)
    try:
        stored = _ADAPTER.validate_json(file.read_bytes())
        tail = bytes.fromhex(stored.tail)
    except (FileNotFoundError, NotADirectoryError):
        return RelayStart()
    except (OSError, ValidationError, ValueError) as error:
        raise ConfigError(
            f"{file}, which says where {log.name} begins, cannot be read: {str(error).splitlines()[0]}",
            hint=f"without that file, {log.name} is decoded as the log of a guest that was booted",
        ) from error
    return RelayStart(position=RelayPosition(stored.session, stored.sequence, unloaded=stored.unloaded), tail=tail)


def state_of(position: RelayPosition | None, replay: bytes) -> PrintsState:
    """What a template keeps of a print relay at this position; a fork's source decodes ``replay`` first."""
    if position is None:
        return PrintsState(replay=replay)
    numbers = {"session": position.session, "sequence": position.sequence, "unloaded": int(position.unloaded)}
    return PrintsState(numbers=numbers, replay=replay)


def position_in(state: PrintsState) -> RelayPosition | None:
    """The position of the print relay before ``state.replay``."""
    numbers = state.numbers
    if not numbers:
        return None
    return RelayPosition(numbers["session"], numbers["sequence"], unloaded=bool(numbers.get("unloaded", 0)))


def start_of(state: PrintsState) -> RelayStart:
    """Where the log of a fork begins: after ``state.replay``."""
    decoder = RelayDecoder(resume=position_in(state))
    decoder.feed(state.replay)
    return RelayStart(position=decoder.position, tail=decoder.tail or b"")
