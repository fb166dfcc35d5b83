"""`lab driver`: build, list and check drivers and guest programs."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from lab.config.model import DEFAULT_IMAGE
from lab.config.project import user_project
from lab.errors import LabError
from lab.host.assets import data_root
from lab.host.renamed import note_old_name
from lab.image.folder import read_manifest
from lab.image.gaps import gap_lines
from lab.image.kernel import import_gaps
from lab.image.recipes import existing_image
from lab.toolchain import pe
from lab.toolchain.build import build_drivers
from lab.toolchain.codeview import codeview
from lab.toolchain.compile import ARCHES
from lab.toolchain.files import sha256_of
from lab.toolchain.known import known_components, project_components
from lab.toolchain.sign import lab_certificate
from lab.toolchain.trust import described, refusal, windows_says

group = typer.Typer(no_args_is_help=True, help="Build, list and check drivers.")

_EXIT_UNSOUND = 1
#: Old name → new name of a driver or program of the lab; for one release.
_OLD_NAMES = {"tap": "relay", "tapmark": "relaymark"}


class ArchName(enum.StrEnum):
    """Choices of --arch."""

    x64 = "x64"
    x86 = "x86"


@group.command()
def build(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Names, or folders with a driver.yaml; default: all of this project"),
    ] = None,
    arch: Annotated[ArchName, typer.Option(help="Processor to build for")] = ArchName.x64,
    out: Annotated[Path | None, typer.Option(help="Folder for the files; default: build/ARCH in this project")] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Do not sign the drivers")] = False,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Drivers count how often each line runs; default folder: build/ARCH/coverage")
    ] = False,
) -> None:
    """Compile, check and sign drivers and the guest's programs."""
    chosen = ARCHES[list(ArchName).index(arch)]
    wanted = [_present_name(name) for name in names or ()]
    for result in build_drivers(wanted, chosen, out, progress=typer.echo, signed=not unsigned, measured=coverage):
        typer.echo(f"{result.sha256}  {result.path}")
        if result.notes is not None:
            typer.echo(f"{'notes':<64}  {result.notes}")


def _present_name(name: str) -> str:
    """The present name of something that has an old one, unless the project has something by the old name."""
    new = _OLD_NAMES.get(name)
    if new is None or name in known_components() or Path(name).exists():
        return name
    note_old_name(name, new)
    return new


@group.command("list")
def list_() -> None:
    """List the drivers and programs that can be used by name: this project's, and the lab's own."""
    for component in known_components().values():
        typer.echo(
            f"{component.name:<14} {component.manifest.kind:<8} {component.image_name:<18} {component.manifest.description}"
        )
    project = user_project().resolve()
    if project == data_root().resolve():
        return
    found = project_components(project)
    for name, files in found.ambiguous.items():
        typer.echo(f"lab: {name} is left out: the name belongs to {' and '.join(map(str, files))}", err=True)
    for error in found.broken.values():
        typer.echo(f"lab: left out: {error}", err=True)


@group.command()
def check(files: Annotated[list[Path], typer.Argument(metavar="FILE.sys...", help="Driver images")]) -> None:
    """Check driver images: format, imports, sections, checksum, signatures.

    A problem is a reason why Windows would not load the file; the command then ends with 1. A note is information: what a
    driver needs from its guest, how it differs from the lab's own builds, who signed it.
    """
    ours = lab_certificate()
    sound = True
    for file in files:
        facts = pe.inspect(file)
        typer.echo(f"{file}: {facts.arch or 'unknown processor'}, {_signed_by(facts, ours)}, SHA-256 {sha256_of(file)}")
        for signature in facts.signatures:
            for line in described(signature):
                typer.echo(f"  {line}")
        for module, imported in facts.imports.items():
            typer.echo(f"  imports from {module}: {', '.join(imported)}")
        record = codeview(file)
        unheard = "none; a kernel does not announce its load to a debugger"
        said = f"{record.build_id} {record.pdb}".rstrip() if record else unheard
        typer.echo(f"  debug id: {said}")
        refused = refusal(facts.signatures, facts.arch)
        said = "" if refused else windows_says(facts.signatures, facts.arch, {ours} if ours else ())
        for remark in (*facts.remarks, *([said] if said else []), *_lacking(file, facts)):
            typer.echo(f"  note: {remark}")
        problems = (*facts.problems, *([refused] if refused else []))
        for problem in problems:
            typer.echo(f"  problem: {problem}")
        sound = sound and not problems
    if not sound:
        raise typer.Exit(_EXIT_UNSOUND)


def _lacking(file: Path, facts: pe.ImageFacts) -> list[str]:
    """What the free guest lacks for a driver, if its image is built: shown before a run skips tests for that reason."""
    try:
        manifest = read_manifest(existing_image(DEFAULT_IMAGE))
    except LabError:
        return []
    if facts.arch != manifest.arch:
        return []
    return [f"{manifest.guest}: {line}" for line in gap_lines(file.name, import_gaps(facts.imports, manifest.kernel))]


def _signed_by(facts: pe.ImageFacts, ours: str) -> str:
    sound = [signature for signature in facts.signatures if not signature.problem]
    if any(signature.certificate_sha256 == ours for signature in sound):
        return "signed by this lab"
    if sound:
        return f"signed by {sound[0].signer} (not by this lab)"
    return "with an invalid signature" if facts.signatures else "not signed"


def register(app: typer.Typer) -> None:
    """Add the commands of this module to ``app``."""
    app.add_typer(group, name="driver")
