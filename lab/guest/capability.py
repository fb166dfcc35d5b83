"""What a guest can do.

A suite declares what it needs; a test that needs more than its guest has is skipped, with the capability's name as the reason.
A capability means the real function, not an imitation of it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from lab.config.kinds import TRANSPORTS
from lab.errors import ConfigError
from lab.guest.transport_kind import TransportKind

#: Name → meaning. The names of transports are capabilities, too, see :func:`capabilities`.
CAPABILITIES: Mapping[str, str] = MappingProxyType(
    {
        "bugcheck": "a driver fault stops the whole guest with a code and four parameters",
        "cancel_io": "CancelIoEx and CancelIo reach the driver's cancel routine",
        "cancel_one": "one pended request can be cancelled while others of its handle stay pended (CancelIoEx, NT 6.0 and"
        " later)",
        "cleanup_on_close": "closing the last handle sends the driver a cleanup request, so that it can cancel what is pended",
        "concurrent_dispatch": "requests of several threads are in the driver at the same time, not one after the other",
        "crash_dump": "a bugcheck leaves a dump file that can be taken out of the guest",
        "dbgprint": "DbgPrint of every driver reaches the host",
        "direct_io": "direct I/O maps the client's own pages; untouched bytes stay as the client left them",
        "dma": "a device reads and writes memory at physical addresses that its driver gives it",
        "driver_load": "kernel drivers are loaded, started and stopped by the service manager",
        "driver_verifier": "Driver Verifier can be switched on",
        "enforces_share_modes": "a second open of an exclusive or unshared device is refused",
        "enforces_signatures": "an unsigned or altered driver is refused at load",
        "exit_cancels_io": "a client's exit cancels its pended requests and waits for them",
        "guest_timestamps": "every print carries a time stamp of the guest's own clock",
        "interrupts": "interrupts of an added PCI device reach the routine that its driver has connected",
        "kernel_debugger": "the guest speaks the kernel debugger protocol on a serial port",
        "multi_cpu": "the guest may have more than one virtual CPU",
        "neither_io": "a device control with METHOD_NEITHER gets the client's own addresses, not those of copies",
        "nt_kernel": "the kernel is Windows NT's, not a stand-in",
        "null_mdl_read": "a read of length zero arrives without an MDL",
        "pci_devices": "a driver finds the VM's PCI devices, and reads and writes their registers",
        "pnp": "driver packages (INF) are installed by pnputil, and devices are found for them",
        "powershell": "PowerShell runs in the guest",
        "sftp": "files can be copied by SFTP",
        "unload_waits_for_handles": "a driver stays in STOP_PENDING until the last handle to its device is closed",
    }
)


def capabilities() -> dict[str, str]:
    """Name → meaning of every capability, sorted by name. The name of a transport means that it reaches the guest."""
    transports = TRANSPORTS.load_all(TransportKind)
    found = {**CAPABILITIES, **{name: f"commands can be run over {kind.title}" for name, kind in transports.items()}}
    return dict(sorted(found.items()))


def describe(name: str) -> str:
    """One line about a capability.

    Raises:
        ConfigError: There is none of this name; the message proposes similar ones.
    """
    return capabilities()[check_names([name])[0]]


def check_names(names: Iterable[str], *, file: str = "", key: str = "") -> tuple[str, ...]:
    """Check capability names from a file.

    Args:
        names: The names.
        file: The file that has them, for the message.
        key: The key that has them, for the message.

    Returns:
        The names, each once, in their order.

    Raises:
        ConfigError: One is unknown.
    """
    checked = tuple(dict.fromkeys(names))
    for name in checked:
        if name not in CAPABILITIES and not TRANSPORTS.knows(name):
            known = capabilities()
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"
            raise ConfigError(f"there is no guest capability {name!r}", file=file, key=key, hint=hint)
    return checked


def missing(needed: Iterable[str], has: Iterable[str]) -> tuple[str, ...]:
    """The needed capabilities that a guest does not have, each once, in the order in which they were asked for."""
    there = frozenset(has)
    return tuple(name for name in check_names(needed) if name not in there)
