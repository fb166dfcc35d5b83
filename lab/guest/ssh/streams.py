"""The streams of a session channel: output, input, and the exit code that cmd writes after the output."""

from __future__ import annotations

import re
from contextlib import suppress

import paramiko

_CHUNK = 32 * 1024


def with_exit_code(line: str, mark: str) -> str:
    """A command line whose cmd writes ``mark`` and the command's exit code after its output.

    ``call`` reads its line again after the command has ended, so that this is the error level of that time; the caret hides it
    from the first reading.
    """
    return f"{line} & call echo {mark}%^errorlevel%"


def take_exit_code(output: bytes, mark: str) -> tuple[bytes, int | None]:
    """Remove the lines ``MARK CODE`` from an output.

    A command that ends its cmd with ``exit`` writes none; then the server's exit status is used. A command that ends in a loop
    writes several; the last one counts.
    """
    line = re.compile(re.escape(mark.encode()) + rb"(-?\d{1,10})[ ]*\r?\n?")
    codes = line.findall(output)
    return line.sub(b"", output), int(codes[-1]) if codes else None


def drain(channel: paramiko.Channel, out: bytearray, err: bytearray) -> bool:
    """Collect the output that has arrived; returns whether there was any."""
    moved = False
    while channel.recv_ready():
        out += channel.recv(_CHUNK)
        moved = True
    while channel.recv_stderr_ready():
        err += channel.recv_stderr(_CHUNK)
        moved = True
    return moved


def send(channel: paramiko.Channel, left: memoryview, *, end: bool) -> memoryview:
    """Send as much as the window accepts, and return the rest; empty if the command does not read any more.

    Args:
        channel: The channel, which does not block.
        left: The bytes to send.
        end: Close the input afterwards.
    """
    try:
        left = left[channel.send(bytes(left[:_CHUNK])) :]
    except TimeoutError:
        return left
    except OSError:
        left = left[:0]
    if not left and end:
        with suppress(OSError, EOFError):
            channel.shutdown_write()
    return left


def has_ended(channel: paramiko.Channel) -> bool:
    """Whether the command has ended, and all its output has arrived. EOF comes after the data: drain once more."""
    return bool(channel.closed or (channel.exit_status_ready() and channel.eof_received))
