"""The records of a stream of prints, and the interface of print sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from lab.crash.hang import Breaker
from lab.prints.resume import ResumableSource
from lab.prints.timer import GuestTimer


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintRecord:
    """One DbgPrint call.

    Attributes:
        sequence: Position in this guest's stream; the source counts from 0 without gaps.
        host_time: Host wall clock in seconds (``time.time()``) at which the record was complete.
        guest_time: The guest's own time stamp in seconds, monotonic within one boot; ``None`` if the source has none.
        source: ``kd``, ``relay`` or ``wine``.
        raw: The bytes of the call, as delivered by the source.
        text: ``raw``, decoded with the driver's encoding; undecodable bytes as escapes; trailing newline kept.
        cpu: Processor number, if known.
        thread: The guest's name for the calling thread (``pid:tid`` hexadecimal), if known.
        component: DPFLTR component id, if known.
        level: DPFLTR level mask, if known.
        by_kernel: Whether the kernel itself printed it, and not a driver; see :mod:`lab.prints.kernel`.
        in_step: Whether the guest was stopped until the host had the print.
        unlike_nt: Whether NT would print another text for the same call, as the stand-in reports: it formats a conversion (%f,
            or wide text outside of ASCII) differently.
        fields: Name → value that ``expect`` found in it; also ``record["name"]``.
    """

    sequence: int
    host_time: float
    guest_time: float | None
    source: str
    raw: bytes
    text: str
    cpu: int | None = None
    thread: str | None = None
    component: int | None = None
    level: int | None = None
    by_kernel: bool = False
    in_step: bool = False
    unlike_nt: bool = False
    fields: Mapping[str, int | str] = field(default_factory=dict, compare=False, repr=False)

    def __getitem__(self, name: str) -> int | str:
        """A field that ``expect`` found in it.

        Raises:
            KeyError: The expectation names no such field.
        """
        if name not in self.fields:
            raise KeyError(f"no field {name!r} in the print {self.text!r}; there is: {', '.join(self.fields) or 'none'}")
        return self.fields[name]

    @property
    def when(self) -> float | None:
        """A time in seconds by which prints of one guest can be compared; None if there is none.

        It is the guest's own time stamp. A debugged guest sends none; for it, it is the host's time, which is right within
        milliseconds, because such a guest is stopped at each print until the host has it.
        """
        return self.host_time if self.guest_time is None and self.in_step else self.guest_time


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRecord:
    """The guest's report that a driver crashed: a bugcheck, or on the free guest an unhandled exception.

    Attributes:
        sequence: Position in the same sequence as the prints.
        host_time: Host wall clock in seconds.
        guest_time: The guest's time stamp in seconds, where known.
        code: Bugcheck or exception code.
        parameters: Bugcheck parameters, or the faulting address alone.
        text: The guest's own text.
        lacks: A function that the driver called and the guest's kernel lacks, see :mod:`lab.guest.lacks`. Such a fault is
            caused by the stand-in, not by the driver. Empty for every other fault.
    """

    sequence: int
    host_time: float
    guest_time: float | None
    code: int
    parameters: tuple[int, ...]
    text: str
    lacks: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkRecord:
    """A marker that :meth:`PrintSource.mark` sent through the same path as the prints."""

    sequence: int
    host_time: float
    guest_time: float | None
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRecord:
    """Prints were lost here: the transport's own sequence numbers jump, or a line was damaged.

    Attributes:
        sequence: Position in the stream at which something is missing.
        host_time: Host wall clock in seconds.
        missing: How many transport lines are missing; 0 when it cannot be known.
        reason: What was observed, for people.
    """

    sequence: int
    host_time: float
    missing: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteRecord:
    """Any other text on the same path (a loader's warning, a line of the firmware).

    It stays in the record and is never counted as a print.

    ``lacks`` names a module that a driver imports and the guest does not have, see :mod:`lab.guest.lacks`.
    """

    sequence: int
    host_time: float
    text: str
    raw: bytes = field(repr=False, default=b"")
    lacks: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """An event that the guest's kernel reported among the prints. It is never counted as a print.

    Attributes:
        sequence: Position in the same sequence as the prints.
        host_time: Host wall clock in seconds.
        kind: ``load``, ``unload``, ``exception`` or ``prompt``.
        text: What happened, for people.
    """

    sequence: int
    host_time: float
    kind: str
    text: str


Record = PrintRecord | FaultRecord | MarkRecord | GapRecord | NoteRecord | EventRecord


class PrintSource(Protocol):
    """Where a guest's prints come from.

    It reads from ``start`` to ``close`` in the background; lost prints are always recorded as gaps.

    ``records_since`` and ``wait`` may be called from any thread.
    """

    @property
    def name(self) -> str:
        """Name of its :class:`lab.prints.channel.PrintChannel`: ``kd``, ``relay``, ``wine`` …."""

    @property
    def resumable(self) -> ResumableSource | None:
        """Continues the source in a fork; None: it cannot."""

    @property
    def timer(self) -> GuestTimer | None:
        """A timer in the guest; None: the source has none."""

    @property
    def breaker(self) -> Breaker | None:
        """The kernel debugger through which the prints come; None: there is none."""

    def start(self) -> None:
        """Begin to read; returns at once."""

    def records_since(self, position: int) -> list[Record]:
        """All records from index ``position`` of the stream on (records, not prints), oldest first."""

    def wait(self, position: int, until: Callable[[list[Record]], bool], *, timeout: float) -> list[Record]:
        """Wait until ``until(records_since(position))`` holds or ``timeout`` seconds are over; returns the records."""

    def mark(self, token: str, *, timeout: float) -> int:
        """Send a marker, which comes after everything printed before, and wait for it.

        Returns:
            The stream index after the marker's record, for use as ``position``.

        Raises:
            EvidenceLost: The marker did not come back in time.
        """

    def close(self) -> None:
        """Read what has already arrived and stop. Idempotent."""
