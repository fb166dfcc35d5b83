"""The kernel-debugger port: how fast the decoder reads a capture, and how fast a live host answers. Needs no guest."""

from __future__ import annotations

import random
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lab.bench.kdtarget import print_all, print_payload
from lab.bench.protocol import Context
from lab.bench.samples import Samples, Series
from lab.errors import LabError
from lab.prints.kd.decoder import CaptureDecoder
from lab.prints.kd.packet import DEBUG_IO, INITIAL_ID, data_packet
from lab.prints.kd.process import start_collector
from lab.prints.kd.record import Print, from_json

_CAPTURE_BYTES = 8_000_000
#: Most bytes of one read of a live port; the collector reads less at a time, and a file more.
_PIECE = 65536
_SHORT = 20
#: A Python starts in this time on any host.
_START_S = 30.0
#: The longest print of Windows before version 10.
_LONG = 512


class KdMeasure:
    """Synthetic captures, with right checksums and ids; then a made-up target that waits for each answer, as a kernel does."""

    name = "kd"
    title = "kernel-debugger port: the decoder, and a live host"
    needs = "nothing; seconds"

    def run(self, context: Context) -> Samples:
        """Decode each capture several times, then print to a host."""
        rng = random.Random(1)
        captures = {
            "kd.mixed": ("prints of 20 to 200 bytes", [rng.randint(_SHORT, 200) for _ in range(1000)]),
            "kd.short": (f"prints of {_SHORT} bytes", [_SHORT]),
            "kd.long": (f"prints of {_LONG} bytes", [_LONG]),
        }
        series = []
        for key, (label, lengths) in captures.items():
            capture, prints = synthetic_capture(lengths, _CAPTURE_BYTES // (8 if context.quick else 1))
            rates = []
            for turn in range(context.repeat(7, 3)):
                context.detail(f"{label}, {turn + 1}")
                begin = context.cpu_clock()
                decoded = decode(capture)
                took = context.cpu_clock() - begin
                if decoded != prints:
                    raise LabError(f"the decoder found {decoded} of the {prints} prints of a capture without faults")
                rates.append(len(capture) / 1e6 / took)
            series.append(Series(key=key, label=label, unit="MB/s", values=tuple(rates), higher_is_better=True))
        series += self._live(context)
        notes = (
            "decoder: per second of processor time; a serial port of 115200 baud delivers 0.0115 MB/s",
            "live host: the collector in a process of its own over a socket, without a guest",
        )
        return Samples(series=tuple(series), notes=notes)

    @staticmethod
    def _live(context: Context) -> list[Series]:
        rates, lost = [], []
        count = 500 if context.quick else 5000
        for turn in range(context.repeat(3, 1, most=10)):
            context.detail(f"{count} prints to a live host, {turn + 1}")
            took, missing = live(context, count)
            rates.append(count / took)
            lost.append(float(missing))
        return [
            Series(
                key="kd.live",
                label="live host, each print answered",
                unit="prints/s",
                values=tuple(rates),
                higher_is_better=True,
            ),
            Series(key="kd.live.lost", label=f"lost of {count * len(lost)} prints", unit="prints", values=tuple(lost)),
        ]


def synthetic_capture(lengths: Sequence[int], size: int) -> tuple[bytes, int]:
    """A capture of prints, as a target sends them.

    Args:
        lengths: Lengths of the prints in bytes, taken in turn; each at least 20.
        size: The capture becomes at least this long, in bytes.

    Returns:
        The capture and the number of its prints.
    """
    capture = bytearray()
    number = 0
    while len(capture) < size:
        text = b"bench print %07d" % number
        text = text.ljust(lengths[number % len(lengths)] - 1, b".") + b"\n"
        capture += data_packet(DEBUG_IO, INITIAL_ID ^ (number & 1), print_payload(text))
        number += 1
    return bytes(capture), number


def decode(capture: bytes) -> int:
    """Decode a capture piece by piece, as it would come from a port; returns the number of prints."""
    decoder = CaptureDecoder()
    prints = 0
    for begin in range(0, len(capture), _PIECE):
        prints += sum(isinstance(record, Print) for record in decoder.feed(capture[begin : begin + _PIECE]))
    return prints + sum(isinstance(record, Print) for record in decoder.finish())


def live(context: Context, count: int) -> tuple[float, int]:
    """Print to a live host.

    Args:
        context: Has the clock.
        count: How many prints.

    Returns:
        Host seconds from the first print to the last answer, and how many prints its records lack.
    """
    texts = [b"bench print %d\n" % number for number in range(count)]
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as scratch, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{scratch}/kd.sock")
        server.listen(1)
        server.settimeout(_START_S)
        collector = start_collector(Path(f"{scratch}/kd.sock"), Path(scratch))
        try:
            port, _ = server.accept()
            with port:
                took = print_all(port, texts, clock=context.clock)
        finally:
            # Its port is closed: it ends by itself, after it has written everything.
            collector.close(_START_S)
        lines = collector.records.read_text(encoding="utf-8").splitlines()
    arrived = {record.raw for line in lines if isinstance(record := from_json(line), Print)}
    return took, sum(text not in arrived for text in texts)
