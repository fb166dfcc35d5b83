"""A guest's prints, from its image's manifest: how it is booted for them, and the print source of a guest.

What differs between print channels is in :mod:`lab.prints`; see :class:`lab.prints.channel.PrintChannel`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from lab.errors import ImageError
from lab.guest.protocol import Transport
from lab.host.renamed import note_old_name
from lab.host.spare import WaitingProcess
from lab.image.kind import ForkClock
from lab.image.manifest import ImageManifest
from lab.image.registry import kind_of
from lab.prints.channel import GuestLink, PrintPorts
from lab.prints.clocked import ClockedPrints
from lab.prints.from_now import FromNow
from lab.prints.record import PrintSource
from lab.prints.registry import OLD_NAMES, channel_named, channel_of
from lab.prints.resume import PrintsState
from lab.vm.protocol import Machine

Debug = Literal["none", "kd"]


def booted_as(manifest: ImageManifest, debug: Debug) -> ImageManifest:
    """The manifest of a guest that is booted with or without its kernel debugger.

    Args:
        manifest: The image's.
        debug: ``kd``: with it; ``none``: as the image boots by itself.

    Raises:
        ImageError: It cannot be booted so.
    """
    if debug in ("none", manifest.prints.source):
        return manifest
    if manifest.debug is None:
        raise ImageError(
            f"image {manifest.name} has no boot with a kernel debugger", hint="use `debug: none`, or a Windows image"
        )
    changes = manifest.debug
    machine = manifest.machine.model_copy(update={"disk": changes.disk or manifest.machine.disk})
    capabilities = tuple(dict.fromkeys((*manifest.capabilities, *changes.capabilities)))
    return manifest.model_copy(
        update={
            "guest": f"{manifest.guest}, kernel debugger on",
            "prints": changes.prints,
            "machine": machine,
            "capabilities": capabilities,
        }
    )


def debug_of(manifest: ImageManifest) -> Debug:
    """What a manifest of :func:`booted_as` is booted with: ``kd`` if its prints come through the kernel debugger."""
    return "kd" if manifest.prints.source == "kd" else "none"


def found_booted(manifest: ImageManifest, run_dir: Path) -> ImageManifest:
    """The manifest of a guest that is up: with its kernel debugger, where the debugger's print file is in the run folder.

    Args:
        manifest: The image's.
        run_dir: The guest's run folder.
    """
    if manifest.debug is None:
        return manifest
    prints = manifest.debug.prints
    file = channel_named(prints.source, why=f"image {manifest.name}").file(prints, run_dir)
    return booted_as(manifest, "kd") if file is not None and file.exists() else manifest


def print_ports(manifest: ImageManifest) -> PrintPorts:
    """The ports that a guest's VM gets for its prints."""
    return channel_of(manifest).ports(manifest.prints)


def starts_paused(manifest: ImageManifest) -> bool:
    """Whether the print channel must be connected before the guest's first instruction."""
    return channel_of(manifest).starts_paused


def has_guest_time(manifest: ImageManifest) -> bool:
    """Whether the prints of this image have the guest's uptime."""
    return channel_of(manifest).guest_time


def can_resume(manifest: ImageManifest) -> bool:
    """Whether the prints of this image can be followed from a fork, whose clock can be set."""
    channel = channel_of(manifest)
    return channel.resumes and (channel.sets_clock or isinstance(kind_of(manifest), ForkClock))


def why_not_forked(manifest: ImageManifest) -> str:
    """The reason why :func:`can_resume` is false."""
    channel = channel_of(manifest)
    if channel.resumes:
        return f"an image with {channel.words} cannot be forked: nothing would set the clock of a fork"
    return f"an image with {channel.words} cannot be forked yet"


def start_helper(manifest: ImageManifest) -> WaitingProcess | None:
    """Start in advance the process that the print channel of this image needs for the next guest; None: it needs none.

    Args:
        manifest: The image, as its guests are booted.

    Raises:
        OSError: It could not be started.
    """
    return channel_of(manifest).start_helper()


def open_prints(
    manifest: ImageManifest,
    machine: Machine,
    encoding: str,
    open_transport: Callable[[], Transport],
    *,
    resume: PrintsState | None = None,
    helper: WaitingProcess | None = None,
) -> PrintSource:
    """The source of a guest's prints, not started yet. A VM that was started paused runs when this returns.

    Args:
        manifest: The image, as it is booted.
        machine: The guest's VM, started.
        encoding: Encoding of the drivers' strings.
        open_transport: Opens a connection to the guest, for a source whose markers are printed by a program in the guest.
        resume: Where the stream of a snapshot's guest had stopped; None after a boot.
        helper: A process of :func:`start_helper` for this guest; it is used up in any case.

    Raises:
        ConfigError: There is no such print channel.
        ImageError: The manifest lacks what the channel needs, or the channel cannot continue in a fork.
        HostToolError: A process of the channel could not be started, or did not connect.
    """
    channel = channel_of(manifest)
    if resume is not None and not channel.resumes:
        raise ImageError(why_not_forked(manifest), hint="--no-fork boots every guest")
    if new := OLD_NAMES.get(manifest.prints.source):
        note_old_name(f"prints.source: {manifest.prints.source}", new, where=f"record of image {manifest.name}")
    link = GuestLink(manifest=manifest, machine=machine, encoding=encoding, open_transport=open_transport, helper=helper)
    return _clocked(channel.open(link, resume=resume), machine)


def join_prints(
    manifest: ImageManifest,
    machine: Machine,
    encoding: str,
    open_transport: Callable[[], Transport],
    *,
    guest_id: str,
) -> PrintSource:
    """The source of a running guest's prints, started: what the guest printed before belongs to no test.

    Args:
        manifest: Its image, as it was booted.
        machine: Its VM, attached.
        encoding: Encoding of the drivers' strings.
        open_transport: Opens a connection to the guest.
        guest_id: Its name in this run.

    Raises:
        EvidenceLost: Its prints do not arrive.
        ImageError: The print channel cannot be joined.
    """
    link = GuestLink(manifest=manifest, machine=machine, encoding=encoding, open_transport=open_transport)
    # An earlier run may have printed markers, too, so the token is new.
    source = FromNow(_clocked(channel_of(manifest).join(link), machine), f"{guest_id}-join-{secrets.token_hex(4)}")
    try:
        source.start()
    except BaseException:
        source.close()
        raise
    return source


def _clocked(source: PrintSource, machine: Machine) -> PrintSource:
    """The source; of a VM with a virtual clock, one that lets the guest run while it waits for it."""
    return source if machine.spec.virtual_clock is None else ClockedPrints(source, machine.running)
