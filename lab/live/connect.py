"""How a transport reaches a guest: what the image offers, and the ports of its running VM."""

from __future__ import annotations

from functools import partial

from lab.errors import TransportError
from lab.guest.clocked import clocked as clocked_transport
from lab.guest.protocol import Transport
from lab.guest.standing import StandingProgram
from lab.guest.transport_kind import GuestAccess, TransportName, transport_kind
from lab.image.manifest import Credentials, ImageManifest
from lab.vm.protocol import Machine


def connect(name: TransportName, manifest: ImageManifest, credentials: Credentials, machine: Machine) -> Transport:
    """Make a transport to a guest; nothing is sent yet.

    Args:
        name: Which.
        manifest: The guest's image.
        credentials: The image's.
        machine: The running VM.

    Raises:
        ConfigError: There is no transport of this name.
        PluginError: The package that adds it is broken.
        TransportError: The image does not offer it.
    """
    kind = transport_kind(name)
    return clocked(kind.connect(access(name, manifest, credentials, machine)), machine)


def clocked(transport: Transport, machine: Machine) -> Transport:
    """The transport; of a VM with a virtual clock, one that lets the guest run while it waits for it."""
    return transport if machine.spec.virtual_clock is None else clocked_transport(transport, machine.running, machine.moment)


def access(
    name: TransportName,
    manifest: ImageManifest,
    credentials: Credentials,
    machine: Machine,
    *,
    standing: StandingProgram | None = None,
    beside: tuple[StandingProgram, ...] = (),
) -> GuestAccess:
    """The input of a transport; see :func:`connect` and, for ``standing`` and ``beside``, :class:`GuestAccess`."""
    offer = manifest.transports.get(name)
    if offer is None:
        offered = " or ".join(manifest.transports)
        raise TransportError(f"image {manifest.name} has no {name}", hint=f"use {offered}" if offered else "")
    return GuestAccess(
        image=manifest.name,
        account=credentials,
        port=None if offer.port is None else machine.ports[offer.port],
        open_channel=partial(machine.channels.open, offer.channel) if offer.channel else None,
        tools_dir=manifest.tools_dir,
        run_dir=machine.run_dir,
        standing=standing,
        beside=beside,
    )
