"""Records of a kernel-debugger session as text: one JSON object a line, or a line for people."""

from __future__ import annotations

from lab.prints.kd.record import (
    AnyRecord,
    BugcheckText,
    Console,
    End,
    ExceptionStop,
    Gap,
    Load,
    Note,
    Print,
    Prompt,
    Unload,
    to_json,
)


def describe(record: AnyRecord, encoding: str) -> str:
    """A record for people, without a newline."""
    match record:
        case Print():
            return record.raw.decode(encoding, "backslashreplace").rstrip("\r\n")
        case Prompt():
            question = record.raw.decode(encoding, "backslashreplace").strip()
            return f"[prompt] {question} (answered {record.answer!r})"
        case Load() | Unload():
            return f"[{record.kind}] {record.path or '(no name)'} at {record.base:#x}, {record.size} bytes"
        case ExceptionStop():
            chance = "first" if record.first_chance else "second"
            action = f": {record.action}" if record.action else ""
            return f"[exception] {record.code:#010x} at {record.address:#x} on CPU {record.cpu}, {chance} chance{action}"
        case BugcheckText():
            parameters = ", ".join(f"{parameter:#x}" for parameter in record.parameters)
            return f"[bugcheck] {record.code:#x} ({parameters})"
        case Gap():
            return f"[gap] {record.reason}"
        case Console():
            return record.raw.decode(encoding, "backslashreplace").strip()
        case Note():
            return f"[note] {record.text}"
        case End():
            return f"[end] {record.reason}"


def record_line(record: AnyRecord, *, jsonl: bool, encoding: str) -> str:
    """Return a record as it is written, without a newline.

    If that fails, by a bug of the lab, the error becomes a note: it must not leave the target without its debugger.
    """
    try:
        return to_json(record, encoding) if jsonl else describe(record, encoding)
    except Exception as error:
        raw = getattr(record, "raw", b"")
        said = f": {raw.hex()}" if raw else ""
        text = f"internal error: the lab cannot write a {record.kind}: {type(error).__name__}: {error}"[:500] + said
        note = Note(time=record.time, generation=record.generation, text=text)
        return to_json(note) if jsonl else describe(note, "cp1252")
