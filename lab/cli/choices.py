"""Options whose values are kinds: transports, and ways of files. The shell completes all that are installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from lab.config.kinds import TRANSPORTS, transport_names
from lab.errors import ConfigError


def beginning(names: Callable[[], Sequence[str]]) -> Callable[[str], list[str]]:
    """A function that completes a word, for typer."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return complete


# Kinds of packages are not in the help: every start of the command would need the time to find them.
_BUILTIN = ", ".join(TRANSPORTS.builtin)

#: For a guest that is up.
OpenTransportOption = Annotated[
    str | None,
    typer.Option(
        "--transport",
        help=f"{_BUILTIN}, or the name of an installed transport; default: as the guest was booted",
        autocompletion=beginning(transport_names),
    ),
]


def check_transport(name: str | None) -> None:
    """Refuse a name that is not that of a transport.

    Raises:
        ConfigError: There is none of this name.
    """
    if name is not None and not TRANSPORTS.knows(name):
        raise ConfigError(f"--transport must be {' or '.join(transport_names())}, not {name!r}")
