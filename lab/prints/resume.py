"""What a print source needs to continue in a fork: the numbers of its transport continue, they do not restart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintsState:
    """The position of the stream at the snapshot; stored with the template.

    Attributes:
        numbers: The transport's counters, by names that the source chooses: the number of the next line, or the ids of the
            next packets.
        replay: Bytes of the print port to decode first: the prints of the load of the template's drivers. A test that wants
            freshly loaded drivers finds them at the start of its window, as after a load of its own.
    """

    numbers: Mapping[str, int]
    replay: bytes = field(default=b"", repr=False)


class ResumableSource(Protocol):
    """The additional methods of a print source whose guest may become a template."""

    def snapshot_state(self) -> PrintsState | None:
        """The position of the stream, while the guest's processors are stopped; None in the middle of a line or packet."""

    def resume(self, seconds: float, entropy: bytes, *, let_run: Callable[[], None], timeout: float) -> None:
        """Send the agent of a stopped guest the time of day, and random bytes that no other fork gets.

        Args:
            seconds: Since the epoch.
            entropy: 32 random bytes.
            let_run: Starts the guest's processors; called once the request was sent.
            timeout: Seconds for the answer.

        Raises:
            TransportError: The guest did not confirm it.
        """
