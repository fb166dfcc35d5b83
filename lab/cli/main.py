"""Entry point of the `lab` command: the application object, and errors turned into messages and exit codes."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, Any, NoReturn

import typer

import lab
from lab.cli.commands import CommandGroup, markup_mode
from lab.cli.invocation import with_own_command
from lab.cli.output import Output
from lab.errors import ConfigError, LabError
from lab.gate.exitcode import INFRA, OK, USAGE

app = typer.Typer(
    name="lab",
    cls=CommandGroup,
    rich_markup_mode=markup_mode(),
    # Plain help cuts the commands' sentences at its width.
    context_settings={} if markup_mode() else {"terminal_width": 128},
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="A test lab for Windows kernel drivers.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lab {lab.__version__}")
        raise typer.Exit


#: The exit code of a shell: 128 and the number of SIGINT.
_INTERRUPTED = 130


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
    which would say that a driver is wrong. No library chooses an exit code, neither for wrong usage nor for a closed pipe.
    """
    output = Output()
    try:
        code = _run(debug="--debug" in sys.argv[1:2])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else INFRA
    raise SystemExit(output.finish(code))


def _run(*, debug: bool) -> int:
    try:
        code = app(standalone_mode=False)
        return code if isinstance(code, int) else OK
    except typer.TyperException as error:
        _show_usage(error)
        return USAGE
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("lab: interrupted\n")
        return _INTERRUPTED
    except SystemExit as end:
        # A command's own end is a return value here. typer ends with 1, without a message, for any closed connection.
        if isinstance(end.__context__, OSError):
            _unforeseen()
        return end.code if isinstance(end.code, int) else OK
    except LabError as error:
        if debug:
            traceback.print_exc()
        sys.stderr.write(with_own_command(f"lab: {error}\n"))
        return USAGE if isinstance(error, ConfigError) else INFRA
    except OSError as error:
        if error.filename is None:
            _unforeseen()
        if debug:
            traceback.print_exc()
        sys.stderr.write(f"lab: {error.filename}: {error.strerror}\n")
        return INFRA
    except Exception:
        _unforeseen()


def _show_usage(error: typer.TyperException) -> None:
    if markup_mode() is None:
        # Whole lines, to be searched; the error's own class writes the usage ahead of them.
        show = getattr(error, "show", None)
        if show is not None:
            show()
        else:
            sys.stderr.write(f"lab: {error.format_message()}\n")
        return
    from typer import rich_utils

    box: Any = rich_utils.rich_format_error
    box(error)


def _unforeseen() -> NoReturn:
    traceback.print_exc()
    sys.stderr.write("lab: unexpected error; please report it with the lines above\n")
    raise SystemExit(INFRA) from None
