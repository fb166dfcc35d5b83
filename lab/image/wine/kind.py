"""The kind of the free guest."""

from __future__ import annotations

from lab.errors import ConfigError
from lab.host.tools import TOOLS
from lab.image.kind import GuestWords, Recipe
from lab.image.selfbuilt import SelfBuilt
from lab.image.wine import NAME


class FreeGuest(SelfBuilt):
    """Wine on Debian: built by the lab, and booted with a kernel of its own."""

    words = GuestWords(
        title="the free guest",
        label="not Windows",
        about="This guest is not Windows. It loads and runs the compiled driver on a stand-in for the NT kernel; what only a "
        "real Windows can show (signature enforcement, bugchecks, Driver Verifier, true direct I/O) was not tested here.",
        warning="This guest is not Windows.",
    )
    #: Measured with QEMU 7.2: a process start takes the host the same with every shift, and the guest 0.10 s with 0, 0.42 s
    #: with 2 and 3.2 s with 5. The less of the guest's time goes into work, the more exact are its timers.
    virtual_clock = 0
    build_tools = tuple(tool for tool in TOOLS if tool.purpose == "build the free guest")

    def recipe_names(self) -> tuple[str, ...]:
        """One."""
        return (NAME,)

    def recipe(self, name: str) -> Recipe:
        """See :class:`lab.image.kind.GuestKind`."""
        from lab.image.wine.recipe import WineRecipe  # compiler and key libraries: for builds, not for each boot

        if name != NAME:
            raise ConfigError(f"there is no recipe {name!r} of the free guest", hint=self.build_command(NAME))
        return WineRecipe()


KIND = FreeGuest()
