"""Separates the kernel's own prints from those of the drivers.

A debug kernel prints, too (``(/ntoskrnl/io/file.c:170) …``, ``err: …``), over the same port and with the same calls. Its prints
are recognised by patterns from the image record or the lab file. They stay in the record; tests compare only the other prints.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from lab.prints.changed import ChangedPrints
from lab.prints.record import PrintRecord, PrintSource


def with_kernel_prints(source: PrintSource, patterns: Sequence[str]) -> PrintSource:
    """The same source; prints that begin with one of the patterns are marked as the kernel's.

    Args:
        source: A guest's print source.
        patterns: Regular expressions; with none of them, the source itself is returned.

    Raises:
        re.error: A pattern is wrong; patterns of lab files and image records were checked when the file was read.
    """
    if not patterns:
        return source
    compiled = [re.compile(pattern) for pattern in patterns]

    def marked(record: PrintRecord) -> PrintRecord:
        own = any(pattern.match(record.text) for pattern in compiled)
        return replace(record, by_kernel=True) if own else record

    return ChangedPrints(source, marked)
