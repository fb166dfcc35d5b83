"""Entry point of the `lab` command: the application object, and errors turned into messages and exit codes."""

from __future__ import annotations

import sys

import typer

from lab.cli import doctor, driver, image
from lab.errors import ConfigError, LabError

app = typer.Typer(name="lab", no_args_is_help=True, add_completion=True, help="A test lab for Windows kernel drivers.")

image.register(app)

#: `lab run`'s exit codes; see lab.gate.
EXIT_USAGE = 2
EXIT_INFRA = 10

for _module in (doctor, driver):
    _module.register(app)


@app.callback()
def _root() -> None:
    """A test lab for Windows kernel drivers."""


def main() -> None:
    """Run the command line; a LabError becomes its message and exit code 2 (usage) or 10 (everything else)."""
    try:
        app()
    except LabError as error:
        sys.stderr.write(f"lab: {error}\n")
        raise SystemExit(EXIT_USAGE if isinstance(error, ConfigError) else EXIT_INFRA) from None
