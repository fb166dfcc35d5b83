"""`lab doctor`: can this machine do the lab's job, and if not, what is missing."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.host.survey import Survey, survey


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables")] = False,
    reprobe: Annotated[
        bool, typer.Option("--reprobe", help="Run the accelerator probe again, even if its result is known")
    ] = False,
) -> None:
    """Check this machine: tools, accelerators that really work, what is missing and how to install it.

    Ends with 0 when the free guest can be built and run here, else with 1.
    """
    found = survey(reprobe=reprobe)
    if json_output:
        sys.stdout.write(json.dumps(found.as_json(), indent=2) + "\n")
    else:
        _show(found, Console())
    raise typer.Exit(0 if found.ok else 1)


def _show(found: Survey, console: Console) -> None:
    table = Table(title="Tools", title_justify="left", box=SIMPLE)
    for heading in ("", "tool", "version", "needed to"):
        table.add_column(heading, no_wrap=True)
    table.add_column("remark", overflow="fold")
    for state in found.tools:
        remark = state.problem if state.ok or state.tool.required else f"{state.problem} (optional)"
        table.add_row(_mark(state.ok, state.tool.required), state.tool.name, state.version, state.tool.purpose, remark)
    console.print(table)

    table = Table(title="Accelerators", title_justify="left", box=SIMPLE)
    for heading in ("", "name", "reason"):
        table.add_column(heading)
    for item in (found.accelerators.kvm, found.accelerators.tcg):
        table.add_row(_mark(item.usable, item.name == "tcg"), item.name, item.reason)
    console.print(table)

    table = Table(title="This machine", title_justify="left", box=SIMPLE, show_header=False)
    for name, value in _facts(found):
        table.add_row(name, value)
    console.print(table)

    if found.ok:
        console.print(Text(f"Ready: guests run under {found.accelerators.best}.", style="green"))
        return
    for problem in found.problems:
        console.print(Text(problem, style="red"))
    if found.install:
        console.print("To install what is missing:")
        # Unwrapped, so that it can be copied.
        console.print(Text(f"  {found.install}", style="bold"), soft_wrap=True)


def _mark(ok: bool, required: bool) -> Text:
    if ok:
        return Text("ok", style="green")
    return Text("missing", style="red") if required else Text("no", style="yellow")


def _facts(found: Survey) -> list[tuple[str, str]]:
    values = found.as_json()
    size = values["capacity"]
    rows = [
        (
            "guests at once",
            f"{size['guests']} of {size['guest_memory_mb']} MiB ({size['cores']:g} cores, {size['memory_mb']} MiB free)",
        )
    ]
    if found.features:
        fork = "x-ignore-shared" if found.features.x_ignore_shared else "full stream (this QEMU lacks x-ignore-shared)"
        rows += [("freeze and fork by", fork), ("dump formats", ", ".join(found.features.dump_formats))]
    else:
        rows.append(("freeze and fork by", "nothing: QEMU does not tell what it can do, so guests are booted cold"))
    rows.append(("forks at once", str(size["forks"])))
    rows += [(f"{name} folder", f"{item.path} ({item.free_mb} MiB free)") for name, item in found.folders.items()]
    return rows
