"""All print channels by name: those of the lab, and those that installed packages add by entry points."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from lab.host.plugins import Kinds
from lab.image.manifest import ImageManifest
from lab.prints.channel import PrintChannel

#: A package adds one by an entry point of this group; docs/extending.md shows how.
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
        why: Who asks for it, for the message.

    Raises:
        ConfigError: There is none.
        PluginError: It is a package's, and cannot be used.
    """
    return CHANNELS.load(OLD_NAMES.get(name, name), PrintChannel, why=why)


def channel_of(manifest: ImageManifest) -> PrintChannel:
    """Return the print channel of an image, as the manifest says; see :func:`channel_named`."""
    return channel_named(manifest.prints.source, why=f"image {manifest.name}")
