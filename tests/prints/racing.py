"""A guest with a virtual clock, without QEMU: its driver prints by itself, and its time goes on after each answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from lab.guest.clocked import ClockedTransport
from lab.guest.protocol import CommandResult, LearnsTime
from lab.live.guest import LiveGuest
from lab.prints.clocked import ClockedPrints
from lab.prints.record import MarkRecord, PrintRecord, Record
from lab.prints.stream import PrintStream
from lab.prints.unobserved import Unobserved
from lab.prints.window import PrintLedger
from lab.vm.spec import VmSpec
from tests.machines import MachineDouble
from tests.simulated import manifest

#: When a test begins, in the guest's time.
BEGIN = 10.0


class RacingGuest(Unobserved):
    """The guest, its print source, the timer of its print agent, and its transport.

    Attributes:
        now: Its time.
        races: Seconds that pass after each answer, until the host has stopped it.
        tells: Commands tell when they have ended, as drvprobe does.
        asked: How much time the host has asked for, request by request.

    Args:
        race: Those seconds.
        prints: When its driver prints, and what, in order. The test begins at 10.
    """

    def __init__(self, race: float, prints: Iterable[tuple[float, str]] = ()) -> None:
        super().__init__()
        self.now = BEGIN
        self.races = 0.0
        self.tells = True
        self.asked: list[float] = []
        self._prints = deque(prints)
        self._answered = BEGIN
        self._started: tuple[tuple[float, str], ...] = ()
        self._records: list[Record] = []
        self.machine = MachineDouble(spec=VmSpec(virtual_clock=0))
        prints_of_it = ClockedPrints(self, self.machine.running)
        self.live = LiveGuest(
            guest_id="g",
            manifest=manifest(),
            machine=self.machine,
            transport=ClockedTransport(_Commands(self), self.machine.running, self.machine.moment),
            prints=prints_of_it,
            smp=1,
            boot_s=0.0,
            open_transport=_no_other,
        )
        ledger = PrintLedger(prints_of_it, "g", rest=self.live.sleep, moment=self.machine.moment)
        ledger.end_boot()
        self.stream: PrintStream = ledger.open("test")
        self.races = race
        self.race()

    def run_to(self, time: float) -> None:
        """Let its driver print until this time."""
        while self._prints and self._prints[0][0] <= time:
            when, text = self._prints.popleft()
            self.say(text, when)
        self.now = max(self.now, time)

    def race(self) -> None:
        """It has answered, and the host has not stopped it yet."""
        self.run_to(self.now + self.races)

    def say(self, text: str, when: float | None) -> None:
        """Print; stamps have whole milliseconds."""
        stamp = None if when is None else int(when * 1000) / 1000
        raw = text.encode()
        self._records.append(
            PrintRecord(sequence=len(self._records), host_time=0.0, guest_time=stamp, source="wine", raw=raw, text=text)
        )

    def command(self, seconds: float = 0.1, text: str = "", *, starts: Iterable[tuple[float, str]] = ()) -> None:
        """A command of the test.

        Args:
            seconds: How long it takes in the guest.
            text: What the driver prints in the middle of it.
            starts: Prints of a timer that it starts at its end: so many seconds later.
        """
        self._started = tuple(starts)
        self.live.transport.run(f"{seconds} {text}", timeout=1)
        if self.tells and isinstance(self.live.transport, LearnsTime):
            self.live.transport.answered(self._answered)

    def answer(self) -> None:
        """A command ends."""
        self._prints.extend((self.now + delay, text) for delay, text in self._started)
        self._answered = self.now
        self.race()

    @property
    def timer(self) -> RacingGuest:
        return self

    def sleep(self, seconds: float, *, timeout: float) -> None:
        assert timeout > seconds
        self.asked.append(seconds)
        self.run_to(self.now + seconds)
        self.race()

    def mark(self, token: str, *, timeout: float) -> int:
        self._records.append(MarkRecord(sequence=len(self._records), host_time=0.0, guest_time=self.now, token=token))
        position = len(self._records)
        self.race()
        return position

    def records_since(self, position: int) -> list[Record]:
        return self._records[position:]

    def wait(self, position: int, until: Callable[[list[Record]], bool], *, timeout: float) -> list[Record]:
        end = self.now + 60 * timeout
        while not until(self.records_since(position)) and self.now < end:
            self.run_to(min(self._prints[0][0], end) if self._prints else end)
        self.race()
        return self.records_since(position)


class _Commands:
    name = "toy"

    def __init__(self, guest: RacingGuest) -> None:
        self._guest = guest

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        seconds, _, text = str(command).partition(" ")
        middle = self._guest.now + float(seconds) / 2
        self._guest.run_to(middle)
        if text:
            self._guest.say(text, middle)
        self._guest.run_to(middle + float(seconds) / 2)
        self._guest.answer()
        return CommandResult(command=str(command), exit_code=0, stdout=b"", stderr=b"", duration_s=0.0)

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        raise AssertionError(source)

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        raise AssertionError(source)

    def close(self) -> None:
        """Nothing to do."""


def _no_other(name: str) -> Any:
    raise AssertionError(name)
