"""Options whose values are kinds: transports, and ways of files. The shell completes all that are installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from lab.config.kinds import MEDIA, TRANSPORTS, transport_names, ways_of_files
from lab.errors import ConfigError


def beginning(names: Callable[[], Sequence[str]]) -> Callable[[str], list[str]]:
    """A function that completes a word, for typer."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names() if name.startswith(incomplete)]

    return complete


# Those of packages are not in the help: to look for them takes time that every start of the command would.
_BUILTIN = ", ".join(TRANSPORTS.builtin)

TransportOption = Annotated[
    str | None,
    typer.Option(
        "--transport",
        help=f"How commands reach the guest: {_BUILTIN}, or the name of an installed transport",
        autocompletion=beginning(transport_names),
    ),
]
#: For a guest that is up.
OpenTransportOption = Annotated[
    str | None,
    typer.Option(
        "--transport",
        help=f"{_BUILTIN}, or the name of an installed transport; default: as the guest was booted",
        autocompletion=beginning(transport_names),
    ),
]
FilesOption = Annotated[
    str | None,
    typer.Option(
        "--files",
        help=f"How files get into the guest: {MEDIA}, winrm, sftp, or the word of an installed transport",
        autocompletion=beginning(ways_of_files),
    ),
]


def check_transport(name: str | None) -> None:
    """Refuse what is no transport.

    Raises:
        ConfigError: There is none of this name.
    """
    if name is not None and not TRANSPORTS.knows(name):
        raise ConfigError(f"--transport must be {' or '.join(transport_names())}, not {name!r}")
