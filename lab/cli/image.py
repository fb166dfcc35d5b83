"""`lab image`: build guest images, list them, print their folders, and check them."""

from __future__ import annotations

import datetime
import functools
import inspect
import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table
from rich.text import Text

from lab.cli.interrupt import NOTHING_LEFT, told_when_interrupted
from lab.cli.invocation import with_own_command
from lab.errors import ConfigError
from lab.host.console import open_console
from lab.image import health, recipes, store
from lab.image.kind import BuildOption, BuildRequest, GuestKind
from lab.image.progress import open_progress
from lab.image.registry import usable_kinds

_CacheOption = Annotated[
    Path | None, typer.Option("--cache", metavar="DIR", help="Cache folder; default: the user's (also LAB_CACHE)")
]
_STYLES = {"ok": "green", "warning": "yellow", "broken": "red"}
_STATES = {True: "current", False: "older recipe", None: "unknown"}


def register(app: typer.Typer) -> None:
    """Add the commands of `lab image`."""
    group = typer.Typer(no_args_is_help=True, help="Guest images: build, list, find, check.")
    group.command("build")(_build_command(usable_kinds()))
    group.command("list")(list_images)
    group.command("path")(path)
    group.command("doctor")(doctor)
    app.add_typer(group, name="image")


def build(
    name: Annotated[str, typer.Argument(help="Recipe, for example wine or windows-server-2022")],
    cache: _CacheOption = None,
    force: Annotated[bool, typer.Option("--force", help="Build it even if it is up to date")] = False,
    **options: Any,
) -> None:
    """Build a guest image, unless the one in the cache is up to date."""
    kind = recipes.known_recipe(name)
    _refuse_options_of_others(kind, name, options)
    order = kind.order(BuildRequest(name=name, options=options, cache=cache, force=force))

    def left() -> str:
        logs = order.log_dir is not None and order.log_dir.exists()
        return f"{NOTHING_LEFT}; logs: {order.log_dir}" if logs else NOTHING_LEFT

    with told_when_interrupted(left), open_progress() as progress:
        folder, built = store.build_image(order.recipe(progress), progress, cache=cache, force=force)
        if built:
            progress.done(f"image {name} is ready: {folder}")
    if not built:
        typer.echo(f"image {name} is up to date: {folder}")
    elif order.log_dir is not None:
        typer.echo(f"logs of the build: {order.log_dir}")
        _say_what_next(name, folder, cache)


def _build_command(kinds: Sequence[GuestKind]) -> Callable[..., None]:
    """:func:`build` with the options of these kinds."""

    @functools.wraps(build)
    def command(**arguments: Any) -> None:
        build(**arguments)

    own = inspect.signature(build, eval_str=True)
    fixed = [parameter for parameter in own.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    added = {option.name: _parameter(option) for kind in kinds for option in kind.build_options}
    command.__signature__ = own.replace(parameters=[*fixed, *added.values()])  # type: ignore[attr-defined]
    return command


def _parameter(option: BuildOption) -> inspect.Parameter:
    """An option of a kind as typer reads it."""
    settings = typer.Option(option.flag, metavar=option.metavar or None, help=option.help)
    value: Any = bool if not option.metavar else list[Path] | None if option.many else Path | None
    default = None if option.metavar else False
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[value, settings]
    )


def _refuse_options_of_others(kind: GuestKind, name: str, options: Mapping[str, Any]) -> None:
    """Refuse options of other kinds, which would do nothing.

    Raises:
        ConfigError: One was given.
    """
    own = {option.name for option in kind.build_options}
    owners: dict[str, str] = {}
    for other in usable_kinds():
        for option in other.build_options:
            if options.get(option.name) and option.name not in own:
                owners[option.flag] = other.words.title
    if owners:
        titles = " and ".join(dict.fromkeys(owners.values()))
        raise ConfigError(f"{', '.join(owners)}: only for {titles} images, and {name} is not one")


def _say_what_next(name: str, folder: Path, cache: Path | None) -> None:
    if cache is None:
        typer.echo(with_own_command(f"try: lab image doctor; lab run --guest {name}"))
    else:
        # A run looks into the user's cache folder only.
        where = shlex.quote(str(cache))
        typer.echo(with_own_command(f"try: lab image doctor --cache {where}; lab run --guest {shlex.quote(str(folder))}"))


def list_images(cache: _CacheOption = None) -> None:
    """List the images in the cache."""
    images = store.list_images(cache=cache)
    if not images:
        typer.echo(with_own_command(f"no images in {store.images_dir(cache)}; build one with `lab image build wine`"))
        return
    # A folder name must not be cut.
    widest = max(len(image.path.name) for image in images)
    table = Table(Column("image", min_width=widest), "guest", "built", "MB", "state", box=None)
    for image in images:
        state = _STATES[health.is_current(image.path, image.manifest)]
        size = f"{image.size / 1e6:.0f}"
        table.add_row(image.path.name, image.manifest.guest, image.manifest.created, size, state)
    open_console().print(table)


def path(
    name: Annotated[str, typer.Argument(help="Name, name and key (NAME-KEY), or folder")], cache: _CacheOption = None
) -> None:
    """Print the folder of an image."""
    if not name:
        raise ConfigError("the image's name is empty")
    typer.echo(str(recipes.existing_image(name, cache=cache)))


def doctor(
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Also compare the disks of Windows images with their SHA-256")
    ] = False,
    cache: _CacheOption = None,
) -> None:
    """Check the images: complete, made by the current recipe, licence and certificates valid for two weeks or more.

    Ends with 0 if every image can be used today, otherwise with 1.
    """
    now = datetime.datetime.now(datetime.UTC)
    found = health.examine_all(cache=cache, now=now, verify=verify)
    broken = any(image.level == "broken" for image in found)
    if json_output:
        document = {
            "ok": not broken,
            "checked": now.isoformat(timespec="seconds"),
            "images": [item.as_json() for item in found],
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        raise typer.Exit(1 if broken else 0)
    console = open_console()
    if not found:
        console.print(f"no images in {store.images_dir(cache)}", soft_wrap=True, markup=False, highlight=False)
    for image in found:
        console.print(Text(f"{image.path.name}  {image.guest}", style="bold"), soft_wrap=True)
        for finding in image.findings:
            line = f"  {finding.level:<8} {finding.text}" + (f"\n           try: {finding.hint}" if finding.hint else "")
            console.print(Text(line, style=_STYLES[finding.level]), soft_wrap=True)
    raise typer.Exit(1 if broken else 0)
