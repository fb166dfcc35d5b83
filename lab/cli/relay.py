"""`lab relay`: decode what the print relay wrote to the debug console."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from lab.cli.encoding import check_encoding
from lab.cli.output import reader_gone
from lab.errors import ConfigError
from lab.host.renamed import note_old_name
from lab.prints.record import GapRecord
from lab.prints.relay.decoder import decode_file
from lab.prints.relay.start import RelayStart, read_start
from lab.prints.relay.text import describe, to_json


def register(app: typer.Typer) -> None:
    """Add the commands of `lab relay`, also as `lab tap`, the old name."""
    app.add_typer(_group(), name="relay")
    app.add_typer(_group("tap"), name="tap", hidden=True)


def _group(old: str = "") -> typer.Typer:
    group = typer.Typer(
        no_args_is_help=True, help="Kernel prints of a guest with the print relay: decode a debug console's log."
    )

    @group.callback()
    def _group() -> None:
        # With a callback, `decode` stays a subcommand although it is the only command.
        if old:
            note_old_name(f"lab {old}", "lab relay")

    @group.command("decode")
    def decode(
        file: Annotated[Path, typer.Argument(help="Log of the debug console, or - for standard input")],
        jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON object a line")] = False,
        encoding: Annotated[
            str, typer.Option("--encoding", metavar="NAME", help="Encoding of the drivers' strings")
        ] = "cp1252",
    ) -> None:
        """Print the records of a log: prints, markers, and how many prints are missing where."""
        check_encoding(encoding)
        found = False
        try:
            with contextlib.ExitStack() as stack:
                piped = str(file) == "-"
                stream = sys.stdin.buffer if piped else stack.enter_context(file.open("rb"))
                start = RelayStart() if piped else read_start(file)
                for record in decode_file(stream, encoding, resume=start.position, tail=start.tail):
                    found = found or not isinstance(record, GapRecord)
                    _write(to_json(record) if jsonl else describe(record))
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # Prevents an error message of Python at its end about a closed pipe.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        except OSError as error:
            raise ConfigError(f"cannot read {file}: {error.strerror}", hint="give a log of the debug console") from None
        if not found:
            raise ConfigError(
                f"{file} has no record of the print relay",
                hint="give the debugcon.log in the run folder of a guest with the print relay",
            )

    return group


def _write(line: str) -> None:
    sys.stdout.buffer.write(line.encode("utf-8", "backslashreplace") + b"\n")
    if reader_gone():
        raise BrokenPipeError
