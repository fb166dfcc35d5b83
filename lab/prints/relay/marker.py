"""Markers of a guest with the print relay: a program in the guest makes the driver write them."""

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
#: The value of ``prints.source`` in an image of an earlier release, and the program in that image. For one release.
OLD_NAME = "tap"
OLD_PROGRAM = "tapmark.exe"
_HINTS = {
    2: "`sc query LabRelay` in the guest shows whether the print relay runs (in an image of an earlier release: LabTap)",
    50: "the guest's kernel has no print callback; NT 6.0 and later have it",
    1167: "the VM has no debug console: its VmSpec needs a debug_port",
}


class RelayMarker:
    """Runs relaymark in a guest, over one connection, which is opened again if it breaks.

    Args:
        program: Windows path of relaymark.
        open_transport: Opens a connection to the guest.
        alive: Whether the VM runs.
    """

    def __init__(self, program: str, open_transport: Callable[[], Transport], *, alive: Callable[[], bool]) -> None:
        self._program = program
        self._open_transport = open_transport
        self._alive = alive
        self._transport: Transport | None = None
        self._lock = threading.Lock()

    def write(self, token: str, timeout: float) -> None:
        """Let the print relay write a marker; when this returns, it is in the log after all earlier prints.

        Args:
            token: Printable ASCII without blanks.
            timeout: Seconds for the command in the guest.

        Raises:
            EvidenceLost: The print relay refused; with the reason.
            GuestError: The guest was not reached.
        """
        with self._lock:
            kept = self._transport is not None
            try:
                result = self._run(token, timeout)
            except TransportError:
                if not kept:
                    raise
                # The connection may have ended meanwhile. A marker that comes twice does no harm.
                result = self._run(token, timeout)
        if result.exit_code:
            said = result.error_text.strip() or win32.describe(result.exit_code)
            raise EvidenceLost(
                f"the guest's print relay did not write marker {token}: {said}", hint=_HINTS.get(result.exit_code, "")
            )

    def close(self) -> None:
        """Close the connection. Idempotent."""
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
        # The VM has ended, so the connection cannot be closed in order.
        if transport is not None and self._alive():
            with passed_over(_LOG, "the print relay's connection", LabError):
                transport.close()
