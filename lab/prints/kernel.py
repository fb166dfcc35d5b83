"""Telling the kernel's own prints from those of the drivers.

A debug kernel prints between the drivers (``(/ntoskrnl/io/file.c:170) …``, ``err: …``), over the same port and by the same
calls. What such a kernel prints is known by patterns, which the image's manifest or the lab file names. Those prints stay in
the record in their places; what a test expects is compared with the others alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from lab.prints.changed import ChangedPrints
from lab.prints.record import PrintRecord, PrintSource


def with_kernel_prints(source: PrintSource, patterns: Sequence[str]) -> PrintSource:
    """The same source, whose prints are marked where one of the patterns is found at their beginning.

    Args:
        source: A guest's print source.
        patterns: Regular expressions; with none of them, the source itself is returned.

    Raises:
        re.error: One is none; those of a lab file and of a manifest were checked when it was read.
    """
    if not patterns:
        return source
    compiled = [re.compile(pattern) for pattern in patterns]

    def marked(record: PrintRecord) -> PrintRecord:
        own = any(pattern.match(record.text) for pattern in compiled)
        return replace(record, by_kernel=True) if own else record

    return ChangedPrints(source, marked)
