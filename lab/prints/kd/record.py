"""The records of a kernel-debugger session, and their JSON form.

``lab kd decode`` and ``lab kd attach`` print one record a line; the lab's print source reads the same lines.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class KdRecord:
    """Common to all records.

    Attributes:
        time: Host wall clock in seconds at the last byte of the packet; None in a capture without times.
        generation: Number of restarts of the target's ids since the session began.
    """

    kind: ClassVar[str] = ""
    time: float | None = None
    generation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Print(KdRecord):
    """One DbgPrint call.

    Attributes:
        cpu: Processor number.
        raw: Bytes of the call, as sent.
        maybe_truncated: 511 bytes that end in a newline, to which Windows shortens a longer call.
    """

    kind: ClassVar[str] = "print"
    cpu: int
    raw: bytes
    maybe_truncated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt(KdRecord):
    """A question of the kernel that stops the guest until it is answered; ``answer`` is the host's answer."""

    kind: ClassVar[str] = "prompt"
    cpu: int
    raw: bytes
    answer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load(KdRecord):
    """An image was loaded."""

    kind: ClassVar[str] = "load"
    path: str
    base: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unload(KdRecord):
    """An image was unloaded; at a shutdown the path may be empty and the base all ones."""

    kind: ClassVar[str] = "unload"
    path: str
    base: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExceptionStop(KdRecord):
    """The target stopped at an exception.

    Attributes:
        cpu: Processor number.
        code: NTSTATUS of the exception.
        address: Its address.
        first_chance: No handler has seen it yet.
        pc: Program counter.
        action: The host's reaction: ``step``, ``continue``, ``pass`` (not handled) or ``hold``; ``debugger``: another debugger
            handles it.
    """

    kind: ClassVar[str] = "exception"
    cpu: int
    code: int
    address: int
    first_chance: bool
    pc: int = 0
    action: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BugcheckText(KdRecord):
    """The kernel's own announcement of a bugcheck: code and its four parameters."""

    kind: ClassVar[str] = "bugcheck"
    code: int
    parameters: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap(KdRecord):
    """Something may be missing here; ``reason`` says what was observed."""

    kind: ClassVar[str] = "gap"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Console(KdRecord):
    """Bytes on the port that belong to no packet: firmware, boot loaders."""

    kind: ClassVar[str] = "console"
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Note(KdRecord):
    """Any other information about the session."""

    kind: ClassVar[str] = "note"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class End(KdRecord):
    """The last record of a live session.

    Attributes:
        reason: Why the session ended.
        complete: The target itself ended, so all of its output is recorded.
    """

    kind: ClassVar[str] = "end"
    reason: str
    complete: bool


AnyRecord = Print | Prompt | Load | Unload | ExceptionStop | BugcheckText | Gap | Console | Note | End
_CLASSES: dict[str, type[AnyRecord]] = {
    cls.kind: cls for cls in (Print, Prompt, Load, Unload, ExceptionStop, BugcheckText, Gap, Console, Note, End)
}
_FIELDS = {kind: tuple(field.name for field in fields(cls)) for kind, cls in _CLASSES.items()}


def to_json(record: AnyRecord, encoding: str = "cp1252") -> str:
    """One line of JSON, without its newline; raw bytes as hex, with their text beside them.

    Args:
        record: The record.
        encoding: Encoding of ``text``; undecodable bytes become escapes. ``raw`` is always exact.
    """
    data: dict[str, Any] = {"kind": record.kind}
    for key in _FIELDS[record.kind]:
        value = getattr(record, key)
        if isinstance(value, bytes):
            data[key] = value.hex()
            data["text"] = value.decode(encoding, "backslashreplace")
        elif value is not None:
            data[key] = value
    return json.dumps(data, ensure_ascii=False)


def from_json(line: str) -> AnyRecord:
    """The record of a line of :func:`to_json`.

    Raises:
        ValueError: It is no such line.
    """
    try:
        data = json.loads(line)
        cls = _CLASSES[data["kind"]]
        values = {key: data[key] for key in _FIELDS[cls.kind] if key in data}
        if "raw" in values:
            values["raw"] = bytes.fromhex(values["raw"])
        if "parameters" in values:
            values["parameters"] = tuple(values["parameters"])
        return cls(**values)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a record of a kernel-debugger session: {line[:80]!r}") from error
