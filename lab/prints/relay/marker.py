"""Markers of a guest with the print relay: a program in the guest has the driver write them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from lab.errors import EvidenceLost, GuestError, LabError, TransportError
from lab.guest import win32
from lab.guest.protocol import CommandResult, Transport
from lab.host.passed import passed_over

_LOG = logging.getLogger(__name__)

#: In the image's tools folder, beside labfile.exe.
PROGRAM = "relaymark.exe"
#: What ``prints.source`` of an image says that an earlier release made, and the program that is in it. For one release.
OLD_NAME = "tap"
OLD_PROGRAM = "tapmark.exe"
_HINTS = {
    2: "`sc query LabRelay` in the guest shows whether the print relay runs (in an image of an earlier release: LabTap)",
    50: "the guest's kernel has no print callback; NT 6.0 and later have it",
    1167: "the VM has no debug console: its VmSpec needs a debug_port",
}


class RelayMarker:
    """Runs relaymark in a guest, over one connection that is kept, and opened anew when it broke.

    Args:
        program: Windows path of relaymark.
        open_transport: Opens a connection to the guest.
        alive: Whether the virtual machine runs.
    """

    def __init__(self, program: str, open_transport: Callable[[], Transport], *, alive: Callable[[], bool]) -> None:
        self._program = program
        self._open_transport = open_transport
        self._alive = alive
        self._transport: Transport | None = None
        self._lock = threading.Lock()

    def write(self, token: str, timeout: float) -> None:
        """Have the print relay write a mark; it stands behind everything printed so far when this returns.

        Args:
            token: Printable ASCII without blanks.
            timeout: Seconds for the command in the guest.

        Raises:
            EvidenceLost: The print relay refused, with the reason.
            GuestError: The guest was not reached.
        """
        with self._lock:
            kept = self._transport is not None
            try:
                result = self._run(token, timeout)
            except TransportError:
                if not kept:
                    raise
                # The connection that was kept may have ended meanwhile. A mark that comes twice does no harm.
                result = self._run(token, timeout)
        if result.exit_code:
            said = result.error_text.strip() or win32.describe(result.exit_code)
            raise EvidenceLost(
                f"the guest's print relay did not write marker {token}: {said}", hint=_HINTS.get(result.exit_code, "")
            )

    def close(self) -> None:
        """Let go of the connection; safe to call twice."""
        with self._lock:
            self._drop()

    def _run(self, token: str, timeout: float) -> CommandResult:
        self._transport = transport = self._transport or self._open_transport()
        try:
            return transport.run((self._program, token), timeout=timeout, shell=False)
        except GuestError:
            self._drop()
            raise

    def _drop(self) -> None:
        transport, self._transport = self._transport, None
        # A connection to a dead machine has nobody to say goodbye to.
        if transport is not None and self._alive():
            with passed_over(_LOG, "the print relay's connection", LabError):
                transport.close()
