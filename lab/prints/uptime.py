"""Asks a guest for its uptime, by a marker of its print source."""

from __future__ import annotations

import secrets

from lab.prints.record import MarkRecord, PrintSource

_MARK_S = 30.0


def ask_uptime(prints: PrintSource, *, timeout: float = _MARK_S) -> float | None:
    """The guest's seconds since its start, now; None if the source does not tell.

    Args:
        prints: Its print source, started.
        timeout: Seconds of the host until it must have answered.

    Raises:
        EvidenceLost: The marker did not come back.
    """
    return marked_at(prints, prints.mark(f"uptime-{secrets.token_hex(4)}", timeout=timeout))


def marked_at(prints: PrintSource, position: int) -> float | None:
    """The guest's time of a marker; None if the source does not tell.

    Args:
        prints: The source.
        position: What its ``mark`` returned.
    """
    marks = [record for record in prints.records_since(position - 1)[:1] if isinstance(record, MarkRecord)]
    return marks[0].guest_time if marks else None
