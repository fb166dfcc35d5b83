"""Entry point of the `lab` command: the application object, and errors turned into messages and exit codes."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, NoReturn

import typer

import lab
from lab.cli.commands import CommandGroup
from lab.errors import ConfigError, LabError
from lab.gate.exitcode import INFRA, USAGE

app = typer.Typer(
    name="lab",
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="A test lab for Windows kernel drivers.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lab {lab.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit")
    ] = False,
) -> None:
    """A test lab for Windows kernel drivers."""


def main() -> None:
    """Run the command line.

    An error of the lab becomes its message and exit code 2 (what the user wrote is wrong) or 10 (everything else), and one of
    the system about a file becomes one line and 10. An unforeseen exception is 10, too: Python's own exit code for it is 1,
    which would say that a driver is wrong.
    """
    debug = "--debug" in sys.argv[1:2]
    try:
        app()
    except LabError as error:
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"lab: {error}\n")
        raise SystemExit(USAGE if isinstance(error, ConfigError) else INFRA) from None
    except OSError as error:
        if error.filename is None:
            _unforeseen()
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"lab: {error.filename}: {error.strerror}\n")
        raise SystemExit(INFRA) from None
    except Exception:
        _unforeseen()


def _unforeseen() -> NoReturn:
    traceback.print_exc()
    sys.stderr.write("lab: an error that nobody foresaw; please report it with the lines above\n")
    raise SystemExit(INFRA) from None
