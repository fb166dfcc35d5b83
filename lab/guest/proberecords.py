"""The output of ``drvprobe.exe``: one record for each operation of a script, from its JSON lines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lab.errors import TransportError

IO_PENDING = 997
WAIT_TIMEOUT = 258

Kind = Literal["read", "write", "ioctl", "flush"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation that drvprobe reported.

    Attributes:
        seq: Position in the output, from 1.
        op: ``open``, ``read``, ``aread``, ``write``, ``awrite``, ``ioctl``, ``aioctl``, ``flush``, ``aflush``, ``wait``,
            ``cancel``, ``sleep``, ``close``, ``tick``, ``service``, ``go``, ``ended``.
        thread: Thread or process that reported it; ``main`` outside of any.
        handle: Name of the handle, if there is one.
        tag: The tag, if there is one.
        asked: Bytes asked for; 0 if that does not apply.
        returned: Bytes moved, or the state of a service after the call; 0 if neither applies.
        error: Win32 error, 0 for success; 997 for a pending request.
        status: The NTSTATUS, if the guest provides it; for a success on a handle without ``overlapped`` always 0.
        start_us: Start in microseconds of the guest's performance counter.
        end_us: End, same clock.
    """

    seq: int
    op: str
    thread: str
    handle: str | None
    tag: str | None
    asked: int
    returned: int
    error: int
    status: int | None = None
    start_us: int
    end_us: int

    @property
    def duration_s(self) -> float:
        """Guest seconds from start to end."""
        return (self.end_us - self.start_us) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(Operation):
    """A read, write, device control or flush that has ended, at once or by ``wait``, with or without an error.

    Attributes:
        kind: ``read``, ``write``, ``ioctl`` or ``flush``.
        code: The device control's code; 0 for the others.
        data: The returned bytes of a read, or of the output buffer of a device control.
        text: ``data`` up to its first zero byte, as UTF-8; other bytes as U+FFFD.
        tail_intact: Whether the buffer after the returned bytes is unchanged.
        input: The buffer that a write or a device control sent, as it is after the call.
        input_intact: Whether the driver left this buffer unchanged.
    """

    kind: Kind = "read"
    code: int = 0
    data: bytes = b""
    text: str = ""
    tail_intact: bool = True
    input: bytes = b""
    input_intact: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadResult(Transfer):
    """A read that has ended; see :class:`Transfer`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """The results of a script.

    Attributes:
        operations: Every operation in the order of the output.
        exit_code: 0, or the code of ``exit``.
        transfers: The reads, writes, device controls and flushes that ended, with or without an error, in the order of the
            output. Those that one ``wait`` collects are in the order in which they were issued; ``end_us`` says when each
            ended. Pending requests are not among them.
        reads: The reads among them.
        by_tag: The last result of each tag; a ``wait`` that timed out counts, with error 258.
    """

    operations: tuple[Operation, ...]
    exit_code: int = 0
    transfers: tuple[Transfer, ...] = field(init=False, repr=False)
    reads: tuple[ReadResult, ...] = field(init=False, repr=False)
    by_tag: Mapping[str, Transfer] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        every = [op for op in self.operations if isinstance(op, Transfer)]
        ended = tuple(op for op in every if not (op.op == "wait" and op.error == WAIT_TIMEOUT))
        object.__setattr__(self, "transfers", ended)
        object.__setattr__(self, "reads", tuple(op for op in ended if isinstance(op, ReadResult)))
        object.__setattr__(self, "by_tag", {op.tag: op for op in every if op.tag is not None})

    @property
    def errors(self) -> list[int]:
        """The Win32 errors of all operations in order."""
        return [op.error for op in self.operations]

    def tagged(self, tag: str) -> tuple[Transfer, ...]:
        """All transfers of a tag that ended, in the order of the output."""
        return tuple(op for op in self.transfers if op.tag == tag)

    def of_thread(self, thread: str) -> tuple[Operation, ...]:
        """The operations of one thread in order."""
        return tuple(op for op in self.operations if op.thread == thread)


def parse_output(output: bytes) -> tuple[Operation, ...]:
    """Parse drvprobe's lines.

    Raises:
        TransportError: A line is cut off or is not drvprobe's, or a line is missing.
    """
    operations: list[Operation] = []
    for number, line in enumerate(output.decode("utf-8", "backslashreplace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            operations.append(_operation(json.loads(line)))
        except (ValueError, KeyError, TypeError) as problem:
            raise TransportError(f"line {number} of drvprobe's output is damaged: {line[:200]!r}") from problem
    if output and not output.endswith(b"\n"):
        raise TransportError(f"drvprobe's output is cut off after {len(operations)} operations")
    seen = sorted(op.seq for op in operations)
    if seen != list(range(1, len(seen) + 1)):
        raise TransportError(f"lines of drvprobe's output are missing: {seen[-1]} were written, {len(seen)} arrived")
    return tuple(operations)


def _operation(line: Any) -> Operation:
    common: dict[str, Any] = {
        "seq": _number(line["seq"]),
        "op": _word(line["op"]),
        "thread": _word(line["thread"]),
        "handle": _word_or_none(line.get("handle")),
        "tag": _word_or_none(line.get("tag")),
        "asked": _number(line.get("asked") or 0),
        "returned": _number(line.get("returned") or 0),
        "error": _number(line["error"]),
        "status": None if line.get("status") is None else _number(line["status"]),
        "start_us": _number(line["start_us"]),
        "end_us": _number(line["end_us"]),
    }
    kind = _kind(line)
    # A request that was only issued ends in a `wait` line, unless it failed at once.
    goes_on = common["op"].startswith("a") and common["error"] in (0, IO_PENDING)
    if kind is None or goes_on:
        return Operation(**common)
    record = ReadResult if kind == "read" else Transfer
    return record(
        **common,
        kind=kind,
        code=_number(line.get("code") or 0),
        data=bytes.fromhex(_word(line.get("data") or "")),
        text=_word(line.get("text") or ""),
        tail_intact=line.get("tail_intact") is not False,
        input=bytes.fromhex(_word(line.get("input") or "")),
        input_intact=line.get("input_intact") is not False,
    )


def _kind(line: Any) -> Kind | None:
    kinds: dict[str, Kind] = {"read": "read", "write": "write", "ioctl": "ioctl", "flush": "flush"}
    kind = line.get("kind")
    return None if kind is None else kinds[_word(kind)]


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(value)
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _word_or_none(value: Any) -> str | None:
    return None if value is None else _word(value)
