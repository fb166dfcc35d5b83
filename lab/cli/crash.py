"""`lab crash`: read crash evidence."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.crash.bugcheck import Bugcheck
from lab.crash.dump import DumpHeader, read_dump_header
from lab.host.console import open_console


def register(app: typer.Typer) -> None:
    """Add the commands of `lab crash`."""
    group = typer.Typer(no_args_is_help=True, help="Crash evidence: read a dump.")

    @group.command("dump")
    def dump(
        file: Annotated[Path, typer.Argument(metavar="FILE", help="Kernel dump, for example MEMORY.DMP")],
        json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
    ) -> None:
        """Print what the header of a Windows kernel dump says: bugcheck, build, time."""
        header = read_dump_header(file)
        if json_output:
            sys.stdout.write(json.dumps(_as_json(header), indent=2) + "\n")
        else:
            _show(_rows(header), open_console())

    app.add_typer(group, name="crash")


def _as_json(header: DumpHeader) -> dict[str, Any]:
    """The header for programs; addresses are hex strings, which every JSON reader keeps as they are."""
    bugcheck = Bugcheck(header.code, header.parameters)
    return {
        "file": str(header.path),
        "size": header.file_size,
        "bits": header.bits,
        "build": header.build,
        "machine": header.machine,
        "cpus": header.cpus,
        "live": header.is_live,
        "bugcheck": {
            "code": f"0x{header.code:08X}",
            "name": bugcheck.name,
            "hint": bugcheck.hint,
            "parameters": [_address(value, header.bits) for value in header.parameters],
        },
        "dump_type": {"number": header.dump_type, "name": header.dump_type_name},
        "system_time": header.system_time.isoformat() if header.system_time else None,
        "uptime_s": header.uptime.total_seconds() if header.uptime else None,
        "comment": header.comment,
        "exception": {
            "code": f"0x{header.exception_code:08X}",
            "address": _address(header.exception_address, header.bits),
        }
        if header.exception_code
        else None,
    }


def _rows(header: DumpHeader) -> list[tuple[str, str]]:
    """Title and value of each line for people."""
    bugcheck = Bugcheck(header.code, header.parameters)
    rows = [
        ("file", f"{header.path} ({header.file_size} bytes)"),
        ("bugcheck", f"0x{header.code:08X} {bugcheck.name or '(no name known)'}" if header.code else "none recorded"),
        *((f"parameter {number}", _address(value, header.bits)) for number, value in enumerate(header.parameters, 1)),
    ]
    if bugcheck.hint:
        rows.append(("meaning", bugcheck.hint))
    if header.exception_code:
        rows.append(("exception", f"0x{header.exception_code:08X} at {_address(header.exception_address, header.bits)}"))
    rows += [
        ("dump type", header.dump_type_name),
        ("Windows", f"build {header.build}, {header.bits} bits, {header.machine}, {header.cpus} CPUs"),
        ("time", f"{header.system_time:%Y-%m-%d %H:%M:%S} UTC" if header.system_time else "not recorded"),
    ]
    if header.uptime:
        rows.append(("uptime", f"{header.uptime.total_seconds():.0f} s"))
    if header.comment:
        rows.append(("comment", header.comment))
    return rows


def _show(rows: list[tuple[str, str]], console: Console) -> None:
    """A table on a terminal; else plain lines, which are never wrapped."""
    if not console.is_terminal:
        for title, value in rows:
            sys.stdout.write(f"{title}: {value}\n")
        return
    table = Table(box=SIMPLE, show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for title, value in rows:
        # As text: brackets in a path or a comment are no markup.
        table.add_row(title, Text(value, style="red" if title == "bugcheck" else ""))
    console.print(table)


def _address(value: int, bits: int) -> str:
    return f"0x{value:0{bits // 4}X}"
