"""When an installation is stuck, and when to press the key that the CD asks for: decisions without a VM."""

from __future__ import annotations

from dataclasses import dataclass

from lab.image.windows.install_events import StageLine
from lab.image.windows.install_host import InstallError, InstallLooped, InstallStalled, StageFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """Time limits, in seconds unless the name says otherwise.

    Attributes:
        total_s: The whole installation.
        stall_s: Without a reset, console output or disk write.
        screenshot_s: Between two screen shots.
        max_resets: Restarts of a good installation, at most; Setup needs 2 to 4.
        reset_burst_s: Resets within this time of a restart's first one belong to it.
        min_free_bytes: What must be free on the host's disk before the start.
        key_after_s: Begin to press the key by then, even if the firmware's console says nothing.
        key_for_s: Press it for so long, counted from then or from the firmware's output, whichever is later.
        key_every_s: Between two key presses.
        poll_s: Between two looks at the VM.
        grace_s: A guest that reported a failed stage may go on for so long, to write its logs and power off.
        exit_s: QEMU's own end, in which it writes its caches back.
    """

    total_s: float = 3 * 3600.0
    stall_s: float = 900.0
    screenshot_s: float = 60.0
    max_resets: int = 10
    reset_burst_s: float = 1.0
    min_free_bytes: int = 25 << 30
    key_after_s: float = 5.0
    key_for_s: float = 15.0
    key_every_s: float = 0.5
    poll_s: float = 0.25
    grace_s: float = 60.0
    exit_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an installation cannot go on.

    Attributes:
        error: The class that says it.
        message: What happened.
        hint: What to try.
    """

    error: type[InstallError]
    message: str
    hint: str


class InstallWatch:
    """Collects the signs of life of an installation, and says when there are too few or too many.

    Args:
        budgets: What is allowed.

    All times are seconds since the start of the VM.
    """

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._last_sign_s = 0.0
        self._failed_s = 0.0
        self._burst_s = float("-inf")
        self.failed: StageLine | None = None
        self.last: StageLine | None = None
        self.resets = 0
        self.written = 0

    @property
    def stage(self) -> str:
        """The last stage line, for people; empty when there was none."""
        return str(self.last or "")

    @property
    def complete(self) -> bool:
        """The guest's last stage line says that it is done."""
        return bool(self.last and self.last.is_end and not self.failed)

    def on_output(self, at_s: float) -> None:
        """The guest wrote something on the console."""
        self._last_sign_s = at_s

    def on_stage(self, at_s: float, line: StageLine) -> None:
        """The guest wrote a stage line."""
        self._last_sign_s = at_s
        self.last = line
        if line.is_failure and not self.failed:
            self.failed = line
            self._failed_s = at_s

    def on_reset(self, at_s: float, qemu_s: float) -> bool:
        """The VM was reset.

        SeaBIOS answers one reset by the guest with up to four of its own, some 50 ms apart. They are one restart.

        Args:
            at_s: Now.
            qemu_s: When it happened, by QEMU's clock, whose zero does not matter.

        Returns:
            It is another restart.
        """
        self._last_sign_s = at_s
        if qemu_s - self._burst_s < self._budgets.reset_burst_s:
            return False
        self._burst_s = qemu_s
        self.resets += 1
        return True

    def on_written(self, at_s: float, total: int) -> bool:
        """The disk's counter of written bytes; True when these are the first ones."""
        first = self.written == 0 and total > 0
        if total != self.written:
            self._last_sign_s = at_s
            self.written = total
        return first

    def problem(self, at_s: float) -> Problem | None:
        """What is wrong now; None when nothing is."""
        budgets = self._budgets
        if self.failed and at_s - self._failed_s >= budgets.grace_s:
            return self.stage_problem()
        if self.resets > budgets.max_resets:
            return Problem(
                InstallLooped,
                f"the guest boots again and again: {self.resets} restarts, and {budgets.max_resets} are allowed",
                "the screen shots show where it restarts; usual causes are a disk that does not boot, and an answer file for "
                "other firmware (UEFI or BIOS)",
            )
        quiet = at_s - self._last_sign_s
        if quiet >= budgets.stall_s:
            return Problem(InstallStalled, f"no reset, console output or disk write for {quiet:.0f} s", self._stall_hint())
        if at_s >= budgets.total_s:
            return Problem(
                InstallStalled,
                f"the installation did not end within {budgets.total_s:.0f} s",
                "the last screen shot shows what it is doing; a slow host needs a longer deadline",
            )
        return None

    def stage_problem(self) -> Problem:
        """The problem that the guest reported itself."""
        stage, reason = (self.failed.stage, self.failed.reason) if self.failed else ("", "")
        message = f"stage {stage} failed in the guest" + (f": {reason}" if reason else "")
        return Problem(StageFailed, message, "the guest's own log is serial1.log in the log folder")

    def _stall_hint(self) -> str:
        if not self.written:
            return (
                "nothing was ever written to the disk: look at the last screen shot for a missed `Press any key` prompt, "
                "a question that the answer file does not answer, or a disk that Setup does not see"
            )
        return "the last screen shot usually shows the question or the error that Setup waits for"


class KeyPresser:
    """Says when to press a key for the prompt `Press any key to boot from CD`.

    It lasts some 5 s. Pressing earlier is harmless, pressing late means that the VM finds nothing to boot.

    Args:
        budgets: When and how often.
    """

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._from_s = budgets.key_after_s
        self._last_s = float("-inf")
        self._gate_seen = False
        self._over = False

    def on_console(self, at_s: float, text: str) -> None:
        """Console output of the firmware or of the CD's own loader."""
        if self._gate_seen or not ("BdsDxe: starting" in text or "Press any key" in text):
            return
        self._gate_seen = True
        self._from_s = at_s

    def restart(self, at_s: float) -> None:
        """The VM was reset: unless the disk was written to by then, the prompt comes again."""
        self._gate_seen = False
        self._from_s = at_s + self._budgets.key_after_s

    def stop(self) -> None:
        """Setup writes to the disk: the prompt does not come again."""
        self._over = True

    def due(self, at_s: float) -> bool:
        """Press now; a press is counted."""
        budgets = self._budgets
        if self._over or not self._from_s <= at_s <= self._from_s + budgets.key_for_s:
            return False
        if at_s - self._last_s < budgets.key_every_s:
            return False
        self._last_s = at_s
        return True
