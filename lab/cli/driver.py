"""`lab driver`: build, list and check drivers and guest programs."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from lab.errors import HostToolError
from lab.toolchain import pe
from lab.toolchain.build import build_drivers
from lab.toolchain.codeview import codeview
from lab.toolchain.compile import ARCHES
from lab.toolchain.files import sha256_of
from lab.toolchain.manifest import known_components
from lab.toolchain.sign import is_signed, signing_key, verify

group = typer.Typer(no_args_is_help=True, help="Build, list and check drivers.")

_EXIT_UNSOUND = 1


class ArchName(enum.StrEnum):
    """Choices of --arch."""

    x64 = "x64"
    x86 = "x86"


@group.command()
def build(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Drivers or programs, or folders with a driver.yaml; all when not given"),
    ] = None,
    arch: Annotated[ArchName, typer.Option(help="Processor to build for")] = ArchName.x64,
    out: Annotated[Path | None, typer.Option(help="Folder for the files; build/ARCH in the checkout when not given")] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Leave the drivers without a signature")] = False,
) -> None:
    """Compile, check and sign drivers and the guest's programs."""
    chosen = ARCHES[list(ArchName).index(arch)]
    for result in build_drivers(names or [], chosen, out, progress=typer.echo, signed=not unsigned):
        typer.echo(f"{result.sha256}  {result.path}")


@group.command("list")
def list_() -> None:
    """Show what the checkout can build."""
    for component in known_components().values():
        typer.echo(
            f"{component.name:<14} {component.manifest.kind:<8} {component.image_name:<18} {component.manifest.description}"
        )


@group.command()
def check(files: Annotated[list[Path], typer.Argument(metavar="FILE.sys...", help="Driver images")]) -> None:
    """Check driver images as the lab checks its own: format, imports, sections, checksum, the lab's signature."""
    sound = True
    for file in files:
        facts = pe.inspect(file)
        problems = list(facts.problems)
        try:
            verify(file, signing_key())
            signature = "signed by this lab"
        except HostToolError as error:
            if error.exit_code is None:
                raise
            signature = "signed, but not by this lab" if is_signed(file) else "not signed"
            what = "a guest in test mode takes any valid one" if is_signed(file) else "Windows will not load it (error 577)"
            problems.append(f"it carries no valid signature of this lab's key; {what}")
        typer.echo(f"{file}: {facts.arch or 'unknown processor'}, {signature}, SHA-256 {sha256_of(file)}")
        for module, imported in facts.imports.items():
            typer.echo(f"  imports from {module}: {', '.join(imported)}")
        record = codeview(file)
        said = f"{record.build_id} {record.pdb}".rstrip() if record else "none; a kernel's debugger is not told of its load"
        typer.echo(f"  debug id: {said}")
        for problem in problems:
            typer.echo(f"  problem: {problem}")
        sound = sound and not problems
    if not sound:
        raise typer.Exit(_EXIT_UNSOUND)


def register(app: typer.Typer) -> None:
    """Add the commands of this module to ``app``."""
    app.add_typer(group, name="driver")
