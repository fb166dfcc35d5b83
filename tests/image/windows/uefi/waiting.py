"""Waits for what the UEFI stand-in reports on its console."""

from __future__ import annotations

import time
from pathlib import Path

UP = "the UEFI stand-in is up"


def wait_for_text(log: Path, text: str) -> str:
    """The log, once the text and its line are in it."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        found = log.read_text(errors="replace")
        if "\n" in found.partition(text)[2]:
            return found
        time.sleep(0.2)
    raise AssertionError(f"{text!r} did not come: {log.read_text(errors='replace')[-2000:]!r}")
