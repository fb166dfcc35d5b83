"""Handles signals that end a command like Ctrl-C: the command cleans up and prints a message."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

import typer

#: Sent by service managers and time limits, and by a terminal that is closed.
_ENDING = (signal.SIGTERM, signal.SIGHUP)
_SHELL_BASE = 128
#: Message for an interrupted image build.
NOTHING_LEFT = "nothing of the image is kept"


@contextlib.contextmanager
def told_when_interrupted(told: Callable[[], str]) -> Iterator[None]:
    """Run the block; Ctrl-C, SIGTERM and SIGHUP interrupt it, and end the command after it has cleaned up.

    A block for which Ctrl-C is a normal end may catch the ``KeyboardInterrupt`` itself; the other signals still end
    the command with their code.

    Args:
        told: Returns the message; called after the block has cleaned up.

    Raises:
        typer.Exit: It was interrupted; the exit code is a shell's for the signal: 128 and its number.
    """
    got = [signal.SIGINT]

    def interrupt(number: int, _frame: FrameType | None) -> None:
        got[0] = signal.Signals(number)
        for ending in replaced:
            # A second signal does not interrupt the clean-up.
            signal.signal(ending, signal.SIG_IGN)
        raise KeyboardInterrupt

    # An ignored signal stays ignored: the command was started with nohup.
    replaced = {number: signal.getsignal(number) for number in _ENDING if signal.getsignal(number) != signal.SIG_IGN}
    for number in replaced:
        signal.signal(number, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # the terminal may be gone
            typer.echo(f"lab: interrupted ({got[0].name}); {told()}", err=True)
        raise typer.Exit(_SHELL_BASE + got[0]) from None
    else:
        if got[0] != signal.SIGINT:
            raise typer.Exit(_SHELL_BASE + got[0])
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)
