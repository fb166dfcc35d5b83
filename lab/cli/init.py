"""`lab init`: writes the first files of a driver test for an existing repository."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from lab.cli.invocation import with_own_command
from lab.config import load_settings
from lab.config.project import DEFAULT_FILE
from lab.errors import ConfigError
from lab.host.console import is_terminal
from lab.scaffold.compose import NewFile, compose, manifest_of, missing
from lab.scaffold.look import Sight, look


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(init)


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="The repository; default: the current folder")] = Path(),
    yes: Annotated[
        bool, typer.Option("--yes", help="Write the files; without it, they are shown, and on a terminal you are asked")
    ] = False,
) -> None:
    """Look at a driver's repository and write the first files: lab.yaml, driver.yaml, three tests, a pipeline.

    Files that exist stay as they are. Ends with 2 if it finds no driver.
    """
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}")
    sight = look(folder.absolute())
    for line in _seen(sight):
        typer.echo(line)
    if not sight.drivers:
        raise _no_driver(sight)
    files = compose(sight)
    new = missing(files)
    for file in files:
        if file not in new:
            typer.echo(f"{_place(file)} exists and stays as it is")
    for line in _to_add(sight, new):
        typer.echo(line)
    if not new:
        typer.echo(with_own_command("there is nothing to write; try: lab run"))
        return
    if not yes:
        for file in new:
            typer.echo(f"\n--- {_place(file)}\n{file.text}")
        if not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
            typer.echo(with_own_command(f"nothing was written; `lab init {_given(folder)}--yes` writes {_count(new)}"))
            return
        typer.confirm(f"Write {_count(new)}?", default=True, abort=True)
    _write(new)
    if not _ignored(sight.root):
        typer.echo("results go to out/: add it to .gitignore")
    here = folder.absolute() == Path.cwd()
    typer.echo(with_own_command("try: lab run") if here else f"try: cd {_given(folder)}&& lab run")


def _write(files: tuple[NewFile, ...]) -> None:
    for file in files:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        with file.path.open("x", encoding="utf-8") as out:
            out.write(file.text)
        typer.echo(f"wrote {_place(file)}")


def _seen(sight: Sight) -> list[str]:
    """What was seen, one line each."""
    lines = []
    for driver in sight.drivers:
        origin = os.path.relpath(driver.origin, sight.root)
        if driver.manifest:
            what = "a manifest of the lab"
        elif driver.sources:
            what = "DriverEntry" if len(driver.sources) == 1 else f"DriverEntry, with {len(driver.sources) - 1} more sources"
        else:
            what = f"a finished driver, {driver.image}"
        device = ", ".join(driver.links) or "no device name was found"
        lines.append(f"{origin}: {what}; {driver.name}, {device}")
        if driver.sources and not driver.unload:
            lines.append("  it has no unload routine, so tests load it once in each guest")
        if driver.clients and driver.manifest is None:
            lines.append(f"  programs for it: {', '.join(program.name for program in driver.clients)}")
        elif driver.clients:
            names = ", ".join(program.name for program in driver.clients)
            lines.append(f"  programs that its manifest does not name: {names}; write them there under `clients`")
        if driver.kinds:
            lines.append(
                f"  it is a {' and '.join(driver.kinds)} driver, which needs a Windows guest: `lab image build --help`"
            )
    for path, kinds in sight.unbuildable.items():
        lines.append(
            f"{os.path.relpath(path, sight.root)}: a {' and '.join(kinds)} driver: build it with the WDK, then run this again;"
            " it needs a Windows guest (`lab image build --help`)"
        )
    lines += [f"{os.path.relpath(path, sight.root)}: left out; {why}" for path, why in sight.left_out.items()]
    if sight.ci:
        lines.append(f"pipeline: this repository uses {_CI[sight.ci]}")
    return [with_own_command(line) for line in lines]


_CI = {"github": "GitHub Actions", "gitlab": "GitLab CI", "azure": "Azure Pipelines", "jenkins": "Jenkins"}


def _no_driver(sight: Sight) -> ConfigError:
    if sight.unbuildable:
        return ConfigError(f"no driver in {sight.root} that can be tested without changes", hint="see the lines above")
    return ConfigError(
        f"no driver in {sight.root}: neither a source with DriverEntry, nor a driver.yaml, nor a finished x64 .sys",
        hint="give the folder of the repository: lab init DIR",
    )


def _to_add(sight: Sight, new: tuple[NewFile, ...]) -> list[str]:
    """Drivers and programs that an existing lab file does not name; only the user changes that file."""
    file = sight.root / DEFAULT_FILE
    if any(one.path == file for one in new):
        return []
    named = {Path(path).resolve() for path in load_settings({}, config=file, environ={}, cwd=sight.root).values.drivers}
    manifests = [manifest_of(driver) for driver in sight.drivers]
    lacking = [path for path in manifests if named.isdisjoint((path.resolve(), path.parent.resolve()))]
    paths = ", ".join(os.path.relpath(path, sight.root) for path in lacking)
    return [f"{DEFAULT_FILE} does not name {paths}; add it there under `drivers:`"] if lacking else []


def _ignored(root: Path) -> bool:
    """Whether results need no entry in the ignore list: it has one already, or the folder is not a Git repository."""
    try:
        lines = (root / ".gitignore").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return not (root / ".git").exists()
    return not {"out", "out/", "/out", "/out/"}.isdisjoint(lines)


def _place(file: NewFile) -> str:
    return os.path.relpath(file.path)


def _given(folder: Path) -> str:
    return "" if folder == Path() else f"{shlex.quote(str(folder))} "


def _count(files: tuple[NewFile, ...]) -> str:
    return "1 file" if len(files) == 1 else f"{len(files)} files"
