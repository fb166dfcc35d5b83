"""Second runs of tests that failed because of time on a starved guest: which test has one, and facts of its first run."""

from __future__ import annotations

from collections.abc import Callable

from lab.gate.verdict import Decision
from lab.lease.pool import GuestPool
from lab.lease.protocol import GuestSource
from lab.vm.processor_time import ProcessorTime


class SecondRuns:
    """Records whether the present test is to be run again. It decides nothing: the gate has decided.

    A fork costs a second and a booted guest a minute; both are cheaper than a driver that is accused of the host's delays.

    Args:
        source: Where the guests come from. With the only guest of `--on` there is no other to run a test in.
        pool: The current guest is given back to it before the second run.
        debugged: A user examines a failed test (``--pdb``), which must not be run again.
        say: Shows a line on the terminal.
    """

    def __init__(self, source: GuestSource, pool: GuestPool, *, debugged: bool, say: Callable[[str], None]) -> None:
        self._pool = pool
        self._say = say
        self._starved: ProcessorTime | None = None
        self.possible = not debugged and not getattr(source, "only_guest", False)
        #: Whether pytest must not see the reports of the test yet.
        self.holds_back = False

    def begin(self) -> ProcessorTime | None:
        """A test begins; for a second run, returns the processor time of the first run's guest."""
        first, self._starved = self._starved, None
        self.holds_back = False
        return first

    def phase_failed(self, so_far: Decision) -> None:
        """A phase has failed, and by the facts so far the verdict would be this."""
        self.holds_back = so_far.again

    def end(self, decision: Decision, processor: ProcessorTime | None) -> None:
        """The test has its verdict."""
        self._starved = processor if decision.again else None
        self.holds_back = decision.again

    def give_back(self, nodeid: str) -> bool:
        """Give back the guest of the test that has just ended, if that test is to be run again.

        Args:
            nodeid: The test.

        Returns:
            Whether it is.
        """
        if self._starved is None:
            return False
        self._say(f"{nodeid} is run again in a fresh guest: it failed by time while its guest {self._starved.text}")
        self._pool.release("starved: its test is run again", keep=False)
        return True
