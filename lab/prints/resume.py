"""What a print source needs to continue in a fork: the numbers of its transport continue, they do not restart.

A template is made, and a fork resumes, in this order:

1. The guest that becomes the template prints a marker. :meth:`ResumableSource.hang_up` ends the connections of the marker.
2. Its processors are stopped. :meth:`ResumableSource.snapshot_state` says where the stream stands, or None while a print is on
   its way; then the guest runs a little longer, and is stopped again.
3. The template keeps that :class:`PrintsState`. It belongs to the channel: the rest of the lab only stores it.
4. The VM of a fork is restored, its processors stopped. :meth:`lab.prints.channel.PrintChannel.open` gets the state. It starts
   whatever has to answer the guest, and returns when that is connected.
5. :meth:`ResumableSource.resume` lets the processors run. A first line or packet that does not continue the state is a gap.
"""

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
        texts: Its other values, such as a checksum, by names that the source chooses.
        replay: Data to decode first, in the format of :meth:`lab.prints.channel.PrintChannel.file`: the prints of the load of
            the template's drivers. A test that wants freshly loaded drivers finds them at the start of its window, as after a
            load of its own.
    """

    numbers: Mapping[str, int] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    replay: bytes = field(default=b"", repr=False)


class ResumableSource(Protocol):
    """The additional methods of a print source whose guest may become a template."""

    def hang_up(self) -> None:
        """Close the source's connections to the guest, whose other ends would be in the snapshot; a later marker opens another.

        The guest's processors still run.
        """

    def snapshot_state(self, *, replay: bool = False) -> PrintsState | None:
        """The position of the stream, while the guest's processors are stopped; None in the middle of a line or packet.

        Args:
            replay: A fork's source is to begin with all that this source has read so far: the state has it as its ``replay``,
                and its numbers fit.

        Raises:
            LabError: There is no such position, and waiting does not help.
        """

    def resume(self, seconds: float, entropy: bytes, *, let_run: Callable[[], None], timeout: float) -> None:
        """Let a stopped guest run, and give its agent the time of day, and random bytes that no other fork gets.

        A source without an agent in the guest only lets it run.

        Args:
            seconds: Since the epoch.
            entropy: 32 random bytes.
            let_run: Starts the guest's processors; called once, when everything that the guest may need is in place.
            timeout: Seconds for the answer.

        Raises:
            TransportError: The guest did not confirm it.
        """
