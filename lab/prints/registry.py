"""All print channels by name: the lab's own, and those that installed packages add through entry points."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from lab.host.plugins import Kinds
from lab.image.manifest import ImageManifest
from lab.prints.channel import PrintChannel

#: A package adds a channel with an entry point of this group; docs/extending.md shows how.
CHANNELS: Final = Kinds(
    what="print channel",
    group="driver_test_lab.print_channels",
    builtin={
        "wine": "lab.prints.wine_channel:CHANNEL",
        "kd": "lab.prints.kd.channel:CHANNEL",
        "relay": "lab.prints.relay.channel:CHANNEL",
        "none": "lab.prints.unobserved:CHANNEL",
    },
)

#: Old name → new name; for one release.
OLD_NAMES: Final = MappingProxyType({"tap": "relay"})


def channel_named(name: str, *, why: str = "") -> PrintChannel:
    """Return the print channel of this name.

    Args:
        name: See :attr:`lab.prints.channel.PrintChannel.name`.
        why: Where the name comes from, for the message.

    Raises:
        ConfigError: There is none.
        PluginError: A package adds it, but it cannot be loaded.
    """
    return CHANNELS.load(OLD_NAMES.get(name, name), PrintChannel, why=why)


def channel_of(manifest: ImageManifest) -> PrintChannel:
    """Return the print channel of an image, by its record; see :func:`channel_named`."""
    return channel_named(manifest.prints.source, why=f"image {manifest.name}")
