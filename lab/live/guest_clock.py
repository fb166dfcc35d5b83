"""Which clock a guest gets: the host's time, or a virtual one that jumps over idle time. See docs/virtual-time.md."""

from __future__ import annotations

from lab.config.model import ClockChoice
from lab.errors import ConfigError
from lab.image.manifest import ImageManifest
from lab.image.registry import kind_of
from lab.prints.registry import channel_of
from lab.vm.spec import Accelerator, Clock


def choose_clock(wanted: ClockChoice, manifest: ImageManifest, accelerator: Accelerator) -> Clock:
    """The clock of a run's guests.

    Args:
        wanted: ``auto``: a virtual one wherever that is possible.
        manifest: Their image's, as they boot.
        accelerator: The one in use.

    Raises:
        ConfigError: A virtual clock was asked for, but these guests cannot have one.
    """
    if wanted == "real":
        return "real"
    reason = _why_not(manifest, accelerator)
    if not reason:
        return "virtual"
    if wanted == "auto":
        return "real"
    raise ConfigError(
        f"no virtual clock for guests of image {manifest.name}: {reason}",
        hint="`clock: auto` (--clock auto) uses one where there can be one",
    )


def for_people(wanted: ClockChoice) -> ClockChoice:
    """The same for a guest that users work in: they expect its time to pass, so that ``auto`` is a real clock."""
    return "real" if wanted == "auto" else wanted


def clock_with(clock: Clock, cpus: int) -> Clock:
    """The clock of a guest with so many virtual CPUs, in a run with this clock."""
    return clock if cpus == 1 else "real"


def _why_not(manifest: ImageManifest, accelerator: Accelerator) -> str:
    if accelerator != "tcg":
        return f"only TCG counts instructions, and they run under {accelerator.upper()}"
    if kind_of(manifest).virtual_clock is None:
        return f"{kind_of(manifest).words.title} was not made for it"
    if not channel_of(manifest).guest_timer:
        return f"print channel {manifest.prints.source} has no timer in the guest, by which the lab lets its time pass"
    if manifest.machine.smp != 1:
        return f"it needs one virtual CPU, and they have {manifest.machine.smp}"
    return ""
