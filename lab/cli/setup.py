"""`lab setup`: installs what runs need on this host: packages of the system, and the free guest's image."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lab.cli.interrupt import NOTHING_LEFT, told_when_interrupted
from lab.config.model import DEFAULT_IMAGE
from lab.config.project import user_project
from lab.errors import HostToolError
from lab.host.assets import data_root
from lab.host.console import is_terminal
from lab.host.packages import install_commands, install_packages, missing_packages, needed_packages
from lab.image.bootstrap_hints import hint_for
from lab.image.progress import open_progress
from lab.image.recipes import ensure_image
from lab.scaffold.look import look
from lab.toolchain.choice import wanted_clang
from lab.toolchain.clang import PACKAGE, look_for_clang
from lab.toolchain.known import known_components, project_components
from lab.toolchain.seh import seh_place


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(setup)


def setup(
    also: Annotated[
        list[Path] | None, typer.Option("--also", metavar="FILE", help="Also install packages from this file, one name a line")
    ] = None,
    no_packages: Annotated[bool, typer.Option("--no-packages", help="Install no packages; only build the image")] = False,
    no_image: Annotated[bool, typer.Option("--no-image", help="Only install packages; the first run builds the image")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before packages are installed")] = False,
) -> None:
    """Set up this host: install missing packages (apt) and build the free guest's image.

    Clang is installed when a driver of the project uses __try. If everything is there, it takes a second. It needs root or sudo
    only to install packages. On a terminal, it asks before it installs anything.
    """
    if not no_packages:
        _packages(also or [], ask=not yes and is_terminal(sys.stdin) and is_terminal(sys.stdout))
    if not no_image:
        with told_when_interrupted(lambda: NOTHING_LEFT), open_progress() as progress:
            folder = ensure_image(DEFAULT_IMAGE, progress)
        typer.echo(f"guest image: {folder}")


def _packages(also: list[Path], *, ask: bool) -> None:
    names = (*needed_packages(also), *_of_drivers(user_project()))
    missing = missing_packages(names)
    if not missing:
        typer.echo(f"packages: all {len(names)} are installed")
        return
    commands = install_commands(missing)
    typer.echo(f"packages: installing {len(missing)} of {len(names)}: {' '.join(missing)}")
    if ask:
        typer.confirm(f"Run `{' '.join(commands[-1])}`?", default=True, abort=True)
    try:
        install_packages(missing)
    except HostToolError as error:
        error.hint = error.hint or hint_for(error.output)
        raise


def _of_drivers(project: Path) -> tuple[str, ...]:
    """The package of Clang, if a driver of this project needs it and no usable one is installed."""
    why = _why_clang(project)
    if not why or look_for_clang()[0] is not None:
        return ()
    typer.echo(f"packages: {PACKAGE} is needed: {why}")
    return (PACKAGE,)


def _why_clang(project: Path) -> str:
    ours = project.resolve() == data_root().resolve()
    components = known_components(project) if ours else project_components(project).components
    for component in components.values():
        why = wanted_clang(component) if "x64" in component.manifest.arches else ""
        if why:
            return f"{component.name}: {why}"
    # Before `lab init` there is no manifest.
    for driver in () if components else look(project).drivers:
        place = seh_place(driver.folder, driver.sources, driver.include)
        if place:
            return f"{driver.name}: {place}"
    return ""
