"""The life of one guest of a run, for the report: when it was ready, how it got its files, and why it ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.live.deployment import Deployed
from lab.live.verifier import InForce
from lab.prints.live import PrintFile
from lab.prints.window import Attribution
from lab.vm.spec import Clock

#: How the life of a sound guest ends.
END_OF_RUN = "end of run"
TESTS_OVER = "its tests are over"
REPLACED = "replaced: "


@dataclass(slots=True, kw_only=True)
class GuestLife:
    """What a report says about one guest; see :class:`lab.report.model.GuestEntry`. Times are host seconds.

    Its methods and the pool fill it while the guest starts.
    """

    guest_id: str
    started: float
    boot_s: float | None = None
    fork_s: float | None = None
    wait_s: float | None = None
    template: str = ""
    copy_s: float | None = None
    copied_by: str = ""
    copy_note: str = ""
    load_s: float | None = None
    ended: str = ""
    clock: Clock = "real"
    kept_as: str = ""
    prints_in: PrintFile | None = None
    verifier: InForce | None = None
    attribution: Attribution = field(default_factory=Attribution)

    def note_copy(self, deployed: Deployed) -> None:
        """Record how the run's files were copied in."""
        self.copy_s, self.copied_by, self.copy_note = deployed.copy_s, deployed.copied_by, deployed.copy_note

    def note_boot(self, seconds: float) -> None:
        """Record that it was booted, and how long that took."""
        self.boot_s = seconds

    def note_fork(self, template: str, seconds: float) -> None:
        """Record the key of the template that it is a fork of, and how long the fork took."""
        self.template, self.fork_s = template, seconds

    def note_load(self, seconds: float) -> None:
        """Record how long a driver took to load; the first one counts."""
        if self.load_s is None:
            self.load_s = seconds

    def end(self, reason: str, prints: Attribution | None = None, *, kept_as: str = "") -> None:
        """Record why it ended, the result of its prints, and its name if it continues to run.

        Args:
            reason: Why the run does not use it any more.
            prints: The result of its prints; None if it never had any.
            kept_as: Its name for ``lab shell`` if it was left running.
        """
        self.ended = reason
        if kept_as:
            self.kept_as = kept_as
            self.ended = f"{reason}; it runs on: `lab shell {kept_as}` opens it, `lab down {kept_as}` ends it"
        if prints is not None:
            self.attribution = prints
