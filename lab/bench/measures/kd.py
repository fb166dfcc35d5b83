"""The decoder of the kernel-debugger port: how many bytes of a capture it takes in a second. Needs no guest."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

from lab.bench.measure import Context
from lab.bench.samples import Samples, Series
from lab.errors import LabError
from lab.prints.kd.decoder import CaptureDecoder
from lab.prints.kd.packet import DEBUG_IO, INITIAL_ID, data_packet
from lab.prints.kd.payload import PRINT_STRING
from lab.prints.kd.record import Print

_CAPTURE_BYTES = 8_000_000
#: What one read of a live port returns at most: the collector's own figure is smaller still, a file's larger.
_PIECE = 65536
_SHORT = 20
#: The longest print of Windows before version 10.
_LONG = 512


class KdMeasure:
    """Synthetic captures: prints only, in packets as a target sends them, checksums and ids right."""

    name = "kd"
    title = "decoder of the kernel-debugger port, from a synthetic capture"
    needs = "nothing; seconds"

    def run(self, context: Context) -> Samples:
        """Decode each capture several times."""
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
        note = "per second of processor time; a serial port of 115200 baud delivers 0.0115 MB/s"
        return Samples(series=tuple(series), notes=(note,))


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
        # ApiNumber, ProcessorLevel, Processor, LengthOfString, then the padding of the union.
        payload = struct.pack("<IHHI4x", PRINT_STRING, 6, 0, len(text)) + text
        capture += data_packet(DEBUG_IO, INITIAL_ID ^ (number & 1), payload)
        number += 1
    return bytes(capture), number


def decode(capture: bytes) -> int:
    """Decode a capture piece by piece, as it would come from a port; returns the number of prints."""
    decoder = CaptureDecoder()
    prints = 0
    for begin in range(0, len(capture), _PIECE):
        prints += sum(isinstance(record, Print) for record in decoder.feed(capture[begin : begin + _PIECE]))
    return prints + sum(isinstance(record, Print) for record in decoder.finish())
