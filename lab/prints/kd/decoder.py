"""Decodes a raw capture: the bytes that a target sent, without the answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from lab.prints.kd.packet import ACKNOWLEDGE, RESET, Framer, Packet, Skipped
from lab.prints.kd.record import AnyRecord
from lab.prints.kd.stream import RecordStream

_CHUNK = 1 << 20


class CaptureDecoder:
    """Turns the bytes of a target into records; the sizes of the pieces do not matter.

    Text outside of packets is collected: one ``console`` record has all of it up to the next new packet.
    """

    def __init__(self) -> None:
        self._framer = Framer()
        self._stream = RecordStream()

    def feed(self, data: bytes, time: float | None = None) -> list[AnyRecord]:
        """Take the next bytes; returns the records that they complete.

        Args:
            data: The next bytes, of any size.
            time: Host wall clock in seconds, where it is known.
        """
        return self._read(self._framer.feed(data), time)

    def finish(self, time: float | None = None) -> list[AnyRecord]:
        """End of the capture; returns the records that were held back."""
        return [*self._read(self._framer.give_up(), time), *self._stream.finish(time)]

    def _read(self, found: list[Packet | Skipped], time: float | None) -> list[AnyRecord]:
        records: list[AnyRecord] = []
        for item in found:
            if isinstance(item, Skipped):
                self._stream.skipped(item, time)
            elif item.kind == RESET:
                self._stream.restarted()
            elif item.kind == ACKNOWLEDGE:
                self._stream.answered = True
            elif not item.is_control and (accepted := self._stream.accept(item, time)):
                records += accepted.records
        return records


def decode_file(stream: BinaryIO) -> Iterator[AnyRecord]:
    """The records of a capture, as they are found."""
    decoder = CaptureDecoder()
    while data := stream.read(_CHUNK):
        yield from decoder.feed(data)
    yield from decoder.finish()
