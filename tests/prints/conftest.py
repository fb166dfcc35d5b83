"""A print source made of a list, a clock that only moves when asked, and framed lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from lab.errors import EvidenceLost
from lab.prints.record import FaultRecord, GapRecord, MarkRecord, PrintRecord, Record
from lab.prints.timer import GuestTimer


def frames(payloads: Iterable[bytes], first: int = 0) -> bytes:
    """The bytes that the guest's print agent sends for these lines."""
    return b"".join(b"\x1e%d;%d;%s\n" % (number, len(line), line) for number, line in enumerate(payloads, first))


class ListSource:
    """A print source whose records a test appends; time passes only during a wait."""

    name = "wine"

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.now = 0.0
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.dead = False

    def clock(self) -> float:
        return self.now

    def say(self, text: str, guest_time: float | None = 1.0) -> None:
        raw = text.encode()
        self.records.append(
            PrintRecord(
                sequence=len(self.records),
                host_time=0.0,
                guest_time=guest_time,
                source="wine",
                raw=raw,
                text=text,
                thread="1:2",
            )
        )

    def say_at(self, when: float, text: str) -> None:
        self.later.append((when, lambda: self.say(text, when)))

    def fault(self) -> None:
        self.records.append(
            FaultRecord(
                sequence=len(self.records),
                host_time=0.0,
                guest_time=1.0,
                code=0xC0000005,
                parameters=(0x10,),
                text="it faulted",
            )
        )

    def lose(self) -> None:
        self.records.append(GapRecord(sequence=len(self.records), host_time=0.0, missing=2, reason="2 lines did not arrive"))

    @property
    def resumable(self) -> None:
        return None

    @property
    def timer(self) -> GuestTimer | None:
        return None

    @property
    def breaker(self) -> None:
        return None

    def start(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""

    def records_since(self, position: int) -> list[Record]:
        return self.records[position:]

    def wait(self, position: int, until: Callable[[list[Record]], bool], *, timeout: float) -> list[Record]:
        deadline = self.now + timeout
        self.later.sort(key=lambda entry: entry[0])
        while not until(self.records[position:]):
            if not self.later or self.later[0][0] > deadline:
                self.now = deadline
                break
            self.now, act = self.later.pop(0)
            act()
        return self.records[position:]

    def mark(self, token: str, *, timeout: float) -> int:
        if self.dead:
            raise EvidenceLost(f"marker {token} did not come back")
        self.records.append(MarkRecord(sequence=len(self.records), host_time=0.0, guest_time=1.0, token=token))
        return len(self.records)


@pytest.fixture
def source() -> ListSource:
    """An empty source."""
    return ListSource()


@pytest.fixture
def framed() -> Callable[..., bytes]:
    """``framed([b"line", …], first=0)``: the agent's bytes."""
    return frames
