"""A made-up target of the kernel debugger: prints as a kernel does, each packet only after an answer to the last one."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable

from lab.errors import EvidenceLost
from lab.prints.kd.packet import ACKNOWLEDGE, DEBUG_IO, INITIAL_ID, RESET, SYNC, Framer, Packet, control_packet, data_packet
from lab.prints.kd.payload import PRINT_STRING

_CHUNK = 65536


def print_payload(text: bytes) -> bytes:
    """The payload of one print: ApiNumber, ProcessorLevel, Processor, LengthOfString, padding, the text."""
    return struct.pack("<IHHI4x", PRINT_STRING, 6, 0, len(text)) + text


def print_all(port: socket.socket, texts: Iterable[bytes], *, clock: Callable[[], float], timeout: float = 30.0) -> float:
    """Print texts to a host through a socket. The host must answer each packet before the next one is sent.

    Args:
        port: Connected to the host.
        texts: One print each.
        clock: Monotonic seconds.
        timeout: Seconds that an answer may take.

    Returns:
        Seconds from the first packet to the last answer.

    Raises:
        EvidenceLost: The host does not answer, or is gone.
    """
    port.settimeout(timeout)
    framer = Framer()
    packet_id = INITIAL_ID | SYNC
    begin = clock()
    for text in texts:
        packet = data_packet(DEBUG_IO, packet_id, print_payload(text))
        port.sendall(packet)
        while not _answered(port, framer, packet_id & ~SYNC):
            # After a reset by the host, everything is sent again, with the first ids.
            port.sendall(control_packet(RESET))
            packet_id = INITIAL_ID | SYNC
            port.sendall(data_packet(DEBUG_IO, packet_id, print_payload(text)))
        packet_id = (packet_id & ~SYNC) ^ 1
    return clock() - begin


def _answered(port: socket.socket, framer: Framer, packet_id: int) -> bool:
    """Wait for the answer to a packet; False when the host resets the session instead."""
    while True:
        try:
            data = port.recv(_CHUNK)
        except TimeoutError:
            raise EvidenceLost(f"the debugger's host did not answer a print within {port.gettimeout():g} s") from None
        if not data:
            raise EvidenceLost("the debugger's host went away")
        for item in framer.feed(data):
            if isinstance(item, Packet) and item.kind == RESET:
                return False
            if isinstance(item, Packet) and item.kind == ACKNOWLEDGE and item.id == packet_id:
                return True
