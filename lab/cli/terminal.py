"""Talking to a guest by hand: a terminal over SSH, or a line at a time over any transport."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TextIO

import paramiko

from lab.errors import ConfigError, GuestHung
from lab.guest.protocol import Transport

#: Longest time of one line that a user typed.
_LINE_S = 600.0
_MARK = "lab-cd:"


def ssh_terminal(transport: paramiko.Transport) -> int:
    """Connect this terminal to a shell of the guest until that ends; returns its exit code.

    Args:
        transport: A connection that is logged in.
    """
    columns, lines = shutil.get_terminal_size()
    channel = transport.open_session(timeout=30)
    channel.get_pty(term=os.environ.get("TERM", "xterm"), width=columns, height=lines)
    channel.invoke_shell()

    def resized(_number: int, _frame: FrameType | None) -> None:
        size = shutil.get_terminal_size()
        with contextlib.suppress(paramiko.SSHException):
            channel.resize_pty(width=size.columns, height=size.lines)

    before = signal.signal(signal.SIGWINCH, resized)
    try:
        with _raw(sys.stdin.fileno()):
            pump(channel, sys.stdin.fileno(), sys.stdout.fileno())
        return channel.recv_exit_status() if channel.exit_status_ready() else 0
    finally:
        signal.signal(signal.SIGWINCH, before)
        channel.close()


def pump(channel: paramiko.Channel, source: int, target: int) -> None:
    """Copy bytes both ways until the guest closes its side; the end of ``source`` is passed on."""
    sources = [source]
    while True:
        readable, _, _ = select.select([channel.fileno(), *sources], [], [])
        if channel.fileno() in readable:
            data = channel.recv(32768)
            if not data:
                return
            os.write(target, data)
        if source in readable:
            typed = os.read(source, 4096)
            if typed:
                channel.sendall(typed)
            else:
                sources = []
                channel.shutdown_write()


def line_shell(transport: Transport, *, name: str, read_line: Callable[[str], str], out: TextIO) -> int:
    """Read commands line by line and run them in the guest; ``cd`` is remembered between them.

    Args:
        transport: Runs the commands.
        name: The guest's name, for the prompt.
        read_line: Shows a prompt and returns a line; EOFError at the end.
        out: Gets what the commands write.

    Returns:
        The last command's exit code.
    """
    code, folder = 0, "C:\\"
    while True:
        try:
            line = read_line(f"{name} {folder}> ").strip()
        except (EOFError, KeyboardInterrupt):
            out.write("\n")
            return code
        if not line:
            continue
        if line.lower() in ("exit", "quit"):
            return code
        changes = line.lower() == "cd" or line.lower().startswith(("cd ", "cd\\", "chdir "))
        command = f'cd /d "{folder}" && {line}' + (f" && echo {_MARK}&& cd" if changes else "")
        try:
            result = transport.run(command, timeout=_LINE_S)
        except GuestHung as error:
            out.write(f"{error}\n")
            continue
        text = result.text
        if changes and _MARK in text:
            text, _, rest = text.rpartition(_MARK)
            folder = rest.strip() or folder
        out.write(text + result.error_text)
        out.flush()
        code = result.exit_code


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """Put the terminal into raw mode for the ``with``, so that every key reaches the guest."""
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def require_terminal() -> None:
    """Refuse a shell without a terminal.

    Raises:
        ConfigError: Standard input is not a terminal.
    """
    if not sys.stdin.isatty():
        raise ConfigError("`lab shell` needs a terminal", hint="`lab run-in-guest -- COMMAND` runs one command")
