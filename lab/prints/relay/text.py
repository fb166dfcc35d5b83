"""Records of the print relay as text: one JSON object a line, or a line for people."""

from __future__ import annotations

import json
from typing import Any

from lab.prints.record import FaultRecord, GapRecord, MarkRecord, NoteRecord, PrintRecord, Record


def to_json(record: Record) -> str:
    """One line of JSON, without its newline.

    Raw bytes are hexadecimal, with their text beside them. Unknown values are left out, and host times, too, because a log has
    none.
    """
    data: dict[str, Any] = {"kind": kind_of(record), "sequence": record.sequence}
    match record:
        case PrintRecord():
            data |= {"guest_time": record.guest_time, "cpu": record.cpu, "component": record.component, "level": record.level}
            data |= {"raw": record.raw.hex(), "text": record.text}
        case MarkRecord():
            data |= {"guest_time": record.guest_time, "token": record.token}
        case GapRecord():
            data |= {"missing": record.missing, "reason": record.reason}
        case NoteRecord():
            data |= {"text": record.text, "raw": record.raw.hex()}
        case FaultRecord():
            data |= {"code": record.code, "parameters": list(record.parameters), "text": record.text}
    return json.dumps({key: value for key, value in data.items() if value is not None}, ensure_ascii=False)


def describe(record: Record) -> str:
    """A record for people, without a newline."""
    match record:
        case PrintRecord():
            stamp = f"{record.guest_time:12.6f}" if record.guest_time is not None else " " * 12
            return f"{stamp}  cpu {record.cpu}  {record.text.rstrip()}"
        case MarkRecord():
            return f"[mark] {record.token}"
        case GapRecord():
            return f"[gap] {record.reason}"
        case _:
            return f"[{kind_of(record)}] {record.text}"


def kind_of(record: Record) -> str:
    """``print``, ``mark``, ``gap``, ``note`` or ``fault``."""
    return type(record).__name__.removesuffix("Record").lower()
