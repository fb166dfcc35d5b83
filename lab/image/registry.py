"""The kinds of guest by name: those of the lab, and those that installed packages add.

Each folder of ``lab/image`` with a module ``kind`` is a kind of the lab, named as the folder is; the object is its ``KIND``.
"""

from __future__ import annotations

from pathlib import Path

from lab.errors import ConfigError, ImageError
from lab.host.plugins import Kinds
from lab.image.kind import GuestKind
from lab.image.manifest import ImageManifest

GROUP = "driver_test_lab.guest_kinds"


def guest_kinds() -> Kinds:
    """All kinds; none is imported before it is asked for."""
    folders = sorted(file.parent.name for file in Path(__file__).parent.glob("*/kind.py"))
    builtin = {name: f"{__package__}.{name}.kind:KIND" for name in folders}
    return Kinds(what="guest kind", group=GROUP, builtin=builtin)


def kind_named(name: str, *, why: str = "") -> GuestKind:
    """The kind of a name.

    Args:
        name: Its name.
        why: Who wants it, for the message: ``image toy``.

    Raises:
        ConfigError: There is none of this name.
        PluginError: A package's kind cannot be used.
    """
    return guest_kinds().load(name, GuestKind, why=why)


def kind_of(manifest: ImageManifest) -> GuestKind:
    """The kind of an image.

    Raises:
        ImageError: No installed package has it.
        PluginError: A package's kind cannot be used.
    """
    try:
        return kind_named(manifest.kind, why=f"image {manifest.name}")
    except ConfigError as error:
        raise ImageError(
            error.message, hint=f"install the package that adds the guest kind {manifest.kind}; {error.hint}"
        ) from None


def usable_kinds() -> tuple[GuestKind, ...]:
    """All kinds that can be used, those first whose images the lab builds by itself; broken packages are logged."""
    found = guest_kinds().load_all(GuestKind)
    return tuple(sorted(found.values(), key=lambda kind: not kind.builds_itself))
