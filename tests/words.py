"""The words that the table in CONTRIBUTING.md replaces, as patterns, and a search for them in a text."""

from __future__ import annotations

import re

#: Words of the right column of the table, as patterns, with what may be said with the same letters.
WORDS = {
    "nobody": r"nobody|somebody",
    "whoever": r"whoever",
    "told": r"told",
    "behind": r"behind",
    "sidecar": r"sidecars?",
    "ingress": r"ingress",
    "keeper": r"keepers?",
    "seat": r"seats?",
    "settled": r"settled?(?!=)|settles",
    "thaw": r"thaw\w*",
    # `gc.freeze` makes frozen objects.
    "freeze": r"(?<!lab )(?:freez\w+|frozen(?! objects?\b)|froze)(?!\.json)",
    "tap": r"(?<!lab )(?<!source: )(?<!`)taps?(?! decode|:)",
    "credited": r"credited",
    "machine": r"(?<!virtual )(?<!state )(?<!`)machines?(?!:|\.[\w{]|`| type| code| instruction| 0x)",
}


def old_words(text: str) -> list[str]:
    """The words in a text that the table replaces."""
    return [word for word, pattern in WORDS.items() if re.search(rf"(?<![\w-])(?:{pattern})(?![\w-])", text, re.IGNORECASE)]
