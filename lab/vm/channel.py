"""Virtio-serial ports of a VM: byte streams between its guest and the process that owns the VM.

A port outlasts a snapshot: unlike a TCP connection it has no state outside of QEMU, so a program in the guest that waited for
a byte before the snapshot still waits in each fork. For that, the host's end must be connected before and after: a VM
connects to its ports as soon as it runs, before a fork loads its state. Otherwise the guest would see a hang-up and a new
connection.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from pathlib import Path

from lab.errors import TransportError
from lab.host.unix_socket import connect_unix


def socket_name(name: str) -> str:
    """File name of a port's socket in the run folder."""
    return f"{name}.sock"


class Channels:
    """The host's ends of a VM's ports. Safe to use from several threads.

    Args:
        run_dir: The VM's run folder.
        names: Names of the ports.
    """

    def __init__(self, run_dir: Path, names: Iterable[str]) -> None:
        self._run_dir = run_dir
        self._names = tuple(names)
        self._held: dict[str, socket.socket] = {}
        self._lock = threading.Lock()

    def hold(self) -> None:
        """Connect to every port that is not connected yet. If another process uses a port, QEMU serves this one afterwards.

        Raises:
            TransportError: QEMU does not listen.
        """
        with self._lock:
            for name in self._names:
                if name not in self._held:
                    try:
                        self._held[name] = self._connect(name)
                    except OSError as error:
                        raise TransportError(str(error), hint="is the VM still running?") from error

    def open(self, name: str) -> socket.socket:
        """A port's stream; the caller must close it. It is the connection of :meth:`hold`, if there is one.

        QEMU serves one connection at a time. A second one is accepted, and served once the first is closed.

        Raises:
            ConnectionError: There is no such port, or QEMU has ended.
        """
        if name not in self._names:
            raise ConnectionError(f"the VM of {self._run_dir} has no channel {name!r}")
        with self._lock:
            held = self._held.pop(name, None)
        return held or self._connect(name)

    def close(self) -> None:
        """Close the connections that no caller has opened. Idempotent."""
        with self._lock:
            held, self._held = list(self._held.values()), {}
        for connection in held:
            connection.close()

    def _connect(self, name: str) -> socket.socket:
        path = self._run_dir / socket_name(name)
        try:
            return connect_unix(path)
        except OSError as error:
            raise ConnectionError(f"the channel {path} cannot be opened: {error.strerror or error}") from error
