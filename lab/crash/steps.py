"""Steps of a collection of evidence: each has a deadline, is recorded, and does not prevent the next ones when it fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from lab.crash.bugcheck import Bugcheck
from lab.errors import LabError

HangKind: TypeAlias = Literal["soft", "hard", "unknown"]
#: A step that exceeds its own deadline is abandoned after this many further seconds.
GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a ladder.

    Attributes:
        name: ``screenshot``, ``break-in``, ``nmi``, ``dump``, ``kill``, …
        seconds: What it took.
        ok: It succeeded.
        detail: Its result, or why it failed or was left out.
        file: The file that it made; None: none.
        skipped: It was left out on purpose.
    """

    name: str
    seconds: float
    ok: bool
    detail: str
    file: Path | None = None
    skipped: bool = False

    def __str__(self) -> str:
        if self.skipped:
            return f"{self.name}: {self.detail}"
        return f"{self.name}: {'ok' if self.ok else 'failed'} after {self.seconds:.1f} s: {self.detail}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome that a step itself reports; see :class:`Step`."""

    ok: bool
    detail: str
    file: Path | None = None
    kind: HangKind = "unknown"
    bugcheck: Bugcheck | None = None


class Ladder:
    """Runs steps one after the other.

    Args:
        clock: Monotonic clock in seconds; it measures the steps.
        grace: Seconds after a step's own deadline until it is abandoned.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, grace: float = GRACE_S) -> None:
        self._clock = clock
        self._grace = grace
        self._steps: list[Step] = []

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps so far."""
        return tuple(self._steps)

    def take(self, name: str, work: Callable[[], Outcome], seconds: float) -> Outcome:
        """Run a step, for at most its seconds and the grace. Never raises."""
        before = self._clock()
        outcome = bounded(work, seconds + self._grace)
        self._steps.append(Step(name, self._clock() - before, outcome.ok, outcome.detail, outcome.file))
        return outcome

    def leave_out(self, name: str, why: str) -> None:
        """Record a step that is not taken."""
        self._steps.append(Step(name, 0.0, False, f"left out: {why}", skipped=True))


def bounded(work: Callable[[], Outcome], seconds: float) -> Outcome:
    """Run a step in a thread of its own, which is abandoned when it does not end in time."""
    outcomes: list[Outcome] = []

    def run() -> None:
        try:
            outcomes.append(work())
        except LabError as error:
            outcomes.append(Outcome(False, " ".join(error.message.split())))
        except Exception as error:
            # Even an error of the lab itself must not prevent the steps that follow.
            outcomes.append(Outcome(False, f"{type(error).__name__}: {error}"))

    thread = threading.Thread(target=run, name="evidence-step", daemon=True)
    thread.start()
    thread.join(seconds)
    return outcomes[0] if outcomes else Outcome(False, f"did not end within {seconds:g} s")
