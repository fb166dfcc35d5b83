"""`lab selftest`: have a guest crash or hang on purpose and check the evidence; plant faults in drivers and run the suites."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.cli.given import Given, takes_settings
from lab.cli.run import run_suites
from lab.errors import LabError
from lab.gate.exitcode import INFRA, OK
from lab.host.assets import checkout, data_root
from lab.host.console import open_console
from lab.report.model import RunReport
from lab.report.pieces import Piece, crash_pieces, hang_pieces, missing
from lab.report.runfiles import read_run

DRIVER = "driver/selftest"
_CRASHED = "test_a_driver_writes_through_a_null_pointer"
_HUNG = "test_a_guest_answers_nothing_any_more"
_AFTER = "test_the_next_guest_is_sound"
_STATES = {"ok": "green", "missing": "bold red", "not here": "bright_black"}

_HELPS = {"crash_dump": "Memory dump: always, never, or auto (if a fault stops the whole guest)"}
_DEFAULTS = {"crash_dump": "always"}
#: A driver that never answers costs so many seconds of the host in `lab selftest defects`, instead of a minute.
_CLIENT_S = "20"
_Out = Annotated[Path | None, typer.Option(help="Folder of this run; default: out/<UTC time>-selftest")]


def register(app: typer.Typer) -> None:
    """Add the commands of `lab selftest`."""
    group = typer.Typer(
        no_args_is_help=True, help="Crash or hang a guest on purpose, or plant faults in drivers, and check the result."
    )

    @group.command("crash")
    @takes_settings("selftest", helps=_HELPS, defaults=_DEFAULTS)
    def crash(given: Given, out: _Out = None) -> None:
        """Let a driver crash its guest, and check every piece of evidence.

        Ends with 0: every piece is there, 10: a piece is missing.
        """
        check = functools.partial(crash_pieces, crashed=_CRASHED, after=_AFTER)
        raise typer.Exit(_selftest("test_crash.py", check, given, out))

    @group.command("hang")
    @takes_settings("selftest", helps=_HELPS, defaults=_DEFAULTS)
    def hang(given: Given, out: _Out = None) -> None:
        """Let a guest hang, and check every piece of evidence.

        A driver spins with interrupts off. On the free guest, where drivers cannot do that, the network is cut instead.

        Ends with 0: every piece is there, 10: a piece is missing.
        """
        check = functools.partial(hang_pieces, hung=_HUNG, after=_AFTER)
        raise typer.Exit(_selftest("test_hang.py", check, given, out))

    @group.command("defects")
    @takes_settings("selftest", helps=_HELPS, defaults={"client_timeout": _CLIENT_S})
    def defects(
        given: Given,
        names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Defects; default: all of them")] = None,
        listed: Annotated[bool, typer.Option("--list", help="Only list them; with names, as changes of the source")] = False,
        everything: Annotated[
            bool, typer.Option("--all-tests", help="Run all tests with each defect, also if one has noticed it")
        ] = False,
        out: _Out = None,
    ) -> None:
        """Plant faults in the two example drivers, and check that the suites notice each of them.

        The tests that matter are run first, and all others if these stay green. It needs a checkout of the lab.

        Ends with 0: each one that this guest can show is noticed, 1: one is not, or with a verdict that was not expected, 10:
        one could not be judged.
        """
        from lab.cli.defects import DRIVERS, Wish, list_defects, run_defects
        from lab.defects.catalogue import chosen, read_catalogue

        root = checkout("lab selftest defects")
        catalogue = read_catalogue(root)
        defects = chosen(catalogue, names or ())
        if listed:
            list_defects(defects, sources=bool(names))
            return
        settings = given.load(drivers=tuple(str(root / one) for one in DRIVERS))
        wish = Wish(root=root, settings=settings, defects=defects, whole=not names, everything=everything, out=out)
        raise typer.Exit(run_defects(wish))

    app.add_typer(group, name="selftest")


def _selftest(
    suite: str,
    check: Callable[[RunReport, Path], list[Piece]],
    given: Given,
    out: Path | None,
) -> int:
    # Without the drivers of the user's lab file: an error in their build is not one of the lab.
    settings = dataclasses.replace(given.load(workers="1", drivers=(str(data_root() / DRIVER),)), beside=())
    now = datetime.datetime.now(tz=datetime.UTC)
    # Beside the folders of runs, and never marked as the latest run.
    folder = out or Path(settings.values.out) / f"{now:%Y-%m-%dT%H-%M-%SZ}-selftest"
    typer.echo("A guest is made to fail on purpose now, so the failure in the following report is intended.")
    run_suites(settings, out=folder, arguments=[str(data_root() / DRIVER / suite)])
    folder = folder.absolute()
    report = read_run(folder)
    if report is None:
        raise LabError("the self-test's run left no run.json", hint="see the lines above; `lab doctor` checks this host")
    pieces = check(report, folder)
    show(pieces, report.guest, open_console())
    lost = missing(pieces)
    typer.echo(f"missing: {', '.join(lost)}" if lost else f"every piece of evidence is there: {folder}")
    return INFRA if lost else OK


def show(pieces: list[Piece], guest: str, console: Console) -> None:
    """The table: one piece a line; plain lines, which are never wrapped, where there is no terminal."""
    if not console.is_terminal:
        for piece in pieces:
            sys.stdout.write(f"{piece.state:<9} {piece.name}: {piece.detail}\n")
        return
    table = Table(box=SIMPLE, title=f"Evidence on {guest}", title_justify="left")
    table.add_column("piece", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("what", overflow="fold")
    for piece in pieces:
        table.add_row(piece.name, Text(piece.state, _STATES[piece.state]), Text(piece.detail))
    console.print(table)
