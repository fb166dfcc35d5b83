"""A run that has ended, for what is done after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.config.words import Words


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDone:
    """A run that has ended, and what is needed to run some of its tests again.

    Attributes:
        folder: Its folder; it has a report.
        code: Its exit code.
        image: The image that guests were made of.
        accelerator: The one that was chosen.
        words: What is known of the user's words.
        arguments: These words.
    """

    folder: Path
    code: int
    image: Path
    accelerator: str
    words: Words
    arguments: Sequence[str]
