"""What a print source must know to go on in a fork: its transport's numbers run on, they do not restart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintsState:
    """Where the stream stopped at the snapshot; kept with the template.

    Attributes:
        numbers: The transport's counters, by names that the source chooses: the number of the next line, or the ids of the
            next packets.
        replay: Bytes of the print port to be decoded first: what was printed while the drivers of the template were loaded.
            The test that asked for them freshly loaded finds these prints at the start of its window, as after a load of
            its own.
    """

    numbers: Mapping[str, int]
    replay: bytes = field(default=b"", repr=False)


class ResumableSource(Protocol):
    """What a print source can do whose guest may become a template."""

    def snapshot_state(self) -> PrintsState | None:
        """Where the stream stands, while the guest's processors stand still; None in the middle of a line or packet."""

    def wake(self, seconds: float, entropy: bytes, *, let_run: Callable[[], None], timeout: float) -> None:
        """Tell the agent of a guest that stands still the time of day, and random bytes that no other fork gets.

        Args:
            seconds: Since the epoch.
            entropy: 32 random bytes.
            let_run: Lets the guest's processors run; called when the request waits for them.
            timeout: Seconds for the answer.

        Raises:
            TransportError: The guest did not take it.
        """
