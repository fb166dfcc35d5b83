"""QEMU's gdb stub of a guest that is up: switched on while it runs, and off again."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from lab.errors import ConfigError, GuestExited, TransportError
from lab.host.passed import passed_over
from lab.lease.detached import DetachedGuest
from lab.vm.machine import VirtualMachine

_LOG = logging.getLogger(__name__)
_LABEL = "gdb"
SOCKET = "gdb.sock"
#: A unix socket's name may have 108 bytes.
_LONGEST = 100


@contextlib.contextmanager
def gdb_stub(guest: DetachedGuest) -> Iterator[str]:
    """Let a guest's VM listen for gdb; yields the argument of gdb's ``target remote``.

    A connection stops the VM. After the block no connection is possible, and the VM runs, even if gdb was killed while it was
    stopped. The monitor is closed meanwhile.

    Raises:
        ConfigError: A debugger is connected already.
        GuestExited: The guest has ended.
        TransportError: Its monitor does not answer.
    """
    path = guest.run_dir / SOCKET
    # A socket in the guest's own folder is private to it; if its name is too long, the kernel chooses a port.
    device = f"unix:{path},server=on,wait=off" if len(str(path)) <= _LONGEST else "tcp:127.0.0.1:0"
    with _attached(guest) as machine:
        state = _state(machine)
        if state and not state.startswith("disconnected:"):
            raise ConfigError(f"a debugger is connected to guest {guest.name} already", hint="end that session first")
        machine.qmp.hmp(f"gdbserver {device}")
        address = _address(_state(machine), path)
    try:
        yield address
    finally:
        with passed_over(_LOG, f"{guest.name}: its gdb stub stays on", GuestExited, TransportError, level=logging.WARNING):
            with _attached(guest) as machine:
                machine.qmp.hmp("gdbserver none")
                if machine.status == "paused" or machine.status == "debug":
                    machine.cont()
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _attached(guest: DetachedGuest) -> Iterator[VirtualMachine]:
    try:
        machine = VirtualMachine.attach(guest.run_dir, timeout=10.0)
    except TransportError as error:
        raise TransportError(
            f"the VM of guest {guest.name} does not answer: {error.message}",
            hint="its monitor serves one client at a time: is a `lab run --on` using it?",
        ) from error
    try:
        yield machine
    finally:
        machine.close()


def _state(machine: VirtualMachine) -> str:
    """QEMU's description of the stub's device; empty while there is none."""
    devices = {str(device["label"]): str(device["filename"]) for device in machine.qmp.execute("query-chardev")}
    return devices.get(_LABEL, "")


def _address(state: str, path: Path) -> str:
    """From ``disconnected:tcp:127.0.0.1:34721,server=on`` to what gdb takes."""
    if not state:
        raise TransportError(
            "QEMU did not open its gdb stub", hint="`lab doctor` shows its version; versions from 4.0 on have one"
        )
    where = state.removeprefix("disconnected:").partition(",")[0]
    return str(path) if where.startswith("unix:") else where.removeprefix("tcp:")
