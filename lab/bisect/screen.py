"""Where a search shows what it finds."""

from __future__ import annotations

from typing import Protocol


class Screen(Protocol):
    """Shows a search."""

    def say(self, text: str) -> None:
        """Show something that stays."""

    def doing(self, text: str) -> None:
        """Show what is going on until the next call."""
