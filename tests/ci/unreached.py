"""The lines of the example drivers that no test reaches on the free guest, as docs/suites.md lists them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_TITLE = "## Lines that no test reaches on the free guest\n"
_ROW = re.compile(r"\| `([^`]+)` \| `([^`]+)` \| (.+) \|")


def unreached_lines() -> dict[tuple[str, str], str]:
    """(File below `driver/`, the line without blanks around it) → why no test reaches it."""
    text = (ROOT / "docs" / "suites.md").read_text(encoding="utf-8")
    section = text.partition(_TITLE)[2].partition("\n## ")[0]
    return {(row[1], row[2]): row[3] for row in _ROW.finditer(section)}
