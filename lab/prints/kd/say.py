"""Markers of a debugged guest: a program in the guest prints them with OutputDebugString."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PureWindowsPath

from lab.errors import TransportError
from lab.guest.protocol import Transport

#: Prints one text with OutputDebugString, see vm-images/windows-common/labsay.
SAY_PROGRAM = "labsay.exe"


class LabSay:
    """Runs ``labsay.exe`` in the guest, over a connection of its own, because the test's connection may be busy or blocked.

    Args:
        open_transport: Opens a connection.
        tools_dir: Guest folder of the program.
    """

    def __init__(self, open_transport: Callable[[], Transport], tools_dir: str) -> None:
        self._open = open_transport
        self._program = str(PureWindowsPath(tools_dir) / SAY_PROGRAM)
        self._transport: Transport | None = None

    def __call__(self, text: str, timeout: float) -> None:
        """Print ``text``; labsay ends it with a newline.

        Args:
            text: The text of one call of the print function.
            timeout: Seconds.

        Raises:
            LabError: The text was not printed.
        """
        kept = self._transport is not None
        try:
            self._run(text, timeout)
        except TransportError:
            self.close()
            if not kept:
                raise
            self._run(text, timeout)  # the connection may be from before a pause

    def close(self) -> None:
        """Close the connection. Idempotent."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def _run(self, text: str, timeout: float) -> None:
        if self._transport is None:
            self._transport = self._open()
        self._transport.run([self._program, text.rstrip("\n")], timeout=timeout, shell=False).check()
