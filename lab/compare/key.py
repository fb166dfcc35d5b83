"""What a run was made on. Results of runs with different keys are compared, too, and the comparison says what differs."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from lab.report.model import RunReport

_AND = ", "
_COUNTING = "with coverage"


class RunKey(BaseModel):
    """Guest, clock, accelerator, architecture and kind of drivers of a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str = Field(description="name of the guest image")
    image_key: str = Field(description="hash of everything that the image was made from")
    clock: str = Field(description="virtual or real")
    accelerator: str = Field(description="kvm or tcg")
    arch: str = Field(description="architecture of the drivers")
    flavour: str = Field(
        description="how the drivers were made: the compilers, 'finished' for a .sys file, and 'with coverage'"
    )

    @property
    def counts_lines(self) -> bool:
        """Whether the drivers were built to count their lines (--coverage)."""
        return _COUNTING in self.flavour.split(_AND)

    @property
    def slug(self) -> str:
        """A name for a folder: what people look for, and a hash of all of it."""
        words = "-".join((self.image, self.accelerator, self.clock, self.arch))
        digest = hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()
        return f"{re.sub(r'[^A-Za-z0-9.]+', '-', words)}-{digest[:8]}"


def key_of(report: RunReport) -> RunKey:
    """The key of a run."""
    return RunKey(
        image=report.image.name,
        image_key=report.image.key,
        clock=report.clock,
        accelerator=report.accelerator,
        arch=_all(driver.arch for driver in report.drivers),
        flavour=_all([*(driver.compiler or "finished" for driver in report.drivers), *_coverage(report)]),
    )


def _coverage(report: RunReport) -> list[str]:
    """The word of drivers that count their lines: they are compiled without optimization, and are slower."""
    entry = report.coverage
    return [_COUNTING] if entry is not None and (entry.lines or entry.unused_lines or entry.failed) else []


def _all(words: Iterable[str]) -> str:
    return _AND.join(sorted(set(words))) or "none"


def differences(base: RunKey, new: RunKey) -> list[str]:
    """What differs between two keys, one sentence for each field."""
    before, after = base.model_dump(), new.model_dump()
    return [
        f"{name.replace('_', ' ')}: {_short(before[name])} in BASE, {_short(after[name])} in NEW"
        for name in before
        if before[name] != after[name]
    ]


def _short(word: str) -> str:
    return word[:16] if re.fullmatch(r"[0-9a-f]{32,}", word) else word
