"""`lab doctor`: checks whether this host can run the lab, and shows what is missing."""

from __future__ import annotations

import json
import logging
import sys
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.cli.forked_guests import ForkedGuest, forked_guests
from lab.cli.invocation import with_own_command
from lab.errors import HostToolError, LabError, SnapshotFailed
from lab.host import assets
from lab.host.console import open_console
from lab.host.passed import passed_over
from lab.host.survey import Survey, survey
from lab.image.store import list_images
from lab.toolchain.clang import PACKAGE, look_for_clang
from lab.vm.firmware import find_firmware
from lab.vm.statefile import choose_method

_LOG = logging.getLogger(__name__)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables")] = False,
    reprobe: Annotated[
        bool, typer.Option("--reprobe", help="Check the accelerators again, even if the result is known")
    ] = False,
) -> None:
    """Check this host: tools, accelerators that really work, what is missing and how to install it.

    Ends with 0 if the free guest can be built and run here, otherwise with 1.
    """
    found = survey(reprobe=reprobe)
    if json_output:
        document = found.as_json() | {"uefi_firmware": _uefi_firmware() or None, **_snapshots(found)}
        document["guests"] = [guest.as_json() for guest in _guests(found)]
        document["clang_for_seh"] = _clang()
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        _show(found, open_console())
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

    table = Table(title="This host", title_justify="left", box=SIMPLE, show_header=False)
    for name, value in _facts(found):
        table.add_row(name, value)
    console.print(table)

    table = Table(title="Guests", title_justify="left", box=SIMPLE)
    for heading in ("", "image", "prints by"):
        table.add_column(heading, no_wrap=True)
    table.add_column("remark", overflow="fold")
    for guest in _guests(found):
        table.add_row(_mark(not guest.why_booted, False), guest.image, guest.prints, guest.words)
    console.print(table if table.row_count else "Guests: no image is built yet\n")

    if found.ok:
        console.print(Text(f"Ready: guests run under {found.accelerators.best}.", style="green"))
        return
    for problem in found.problems:
        console.print(Text(problem, style="red"))
    if found.install:
        console.print(Text(with_own_command("To install what is missing (`lab setup` does the same):")), soft_wrap=True)
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
    rows.append(("snapshots by", _snapshot_method(found)))
    if found.features:
        rows.append(("dump formats", ", ".join(found.features.dump_formats)))
    rows.append(("forks at once", str(size["forks"])))
    rows.append(("UEFI firmware", _uefi_firmware() or "none; only Windows images need it: apt-get install -y ovmf"))
    rows.append(("Clang, for drivers with __try", _clang()))
    rows.append(("recipes and guest programs", _data(found)))
    rows += [(f"{name} folder", f"{item.path} ({item.free_mb} MiB free)") for name, item in found.folders.items()]
    return rows


def _guests(found: Survey) -> list[ForkedGuest]:
    """The guests of the built images, and whether they are forked; none if no guest runs here."""
    if found.accelerators.best is None:
        return []
    why = ""
    try:
        choose_method(found.features)
    except SnapshotFailed as error:
        why = error.message
    with passed_over(_LOG, "the images cannot be listed", LabError, level=logging.WARNING):
        return forked_guests(list_images(), found.accelerators.best, no_snapshots=why)
    return []


def _clang() -> str:
    clang, lacking = look_for_clang()
    return clang.version if clang else f"{lacking}; only drivers with __try need it: apt-get install -y {PACKAGE}"


def _data(found: Survey) -> str:
    if found.missing_data:
        return f"{len(found.missing_data)} of {len(assets.NEEDED)} are missing"
    return f"{assets.data_root()} ({'installed' if assets.installed() else 'a checkout'})"


def _snapshots(found: Survey) -> dict[str, str]:
    """How snapshots are taken, also under the old key for one release."""
    method = _snapshot_method(found)
    return {"snapshots_by": method, "freeze_and_fork": method}


def _snapshot_method(found: Survey) -> str:
    try:
        way = choose_method(found.features)
    except SnapshotFailed as error:
        return f"nothing, so guests are booted: {error.message}"
    ram = "a RAM file that forks share" if way.method == "shared" else "a stream of all RAM"
    state = "state by file:" if way.state_by == "file" else "state by exec: and fd:"
    return f"{ram}, {state} (this QEMU: {way.why})"


def _uefi_firmware() -> str:
    """The firmware that Windows images are built with; empty when this host has none."""
    try:
        return str(find_firmware().code)
    except HostToolError:
        return ""
