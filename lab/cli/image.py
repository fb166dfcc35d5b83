"""`lab image`: build guest images, list them, say where they are and whether they are sound."""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from lab.cli.interrupt import NOTHING_LEFT, told_when_interrupted
from lab.cli.invocation import with_own_command
from lab.cli.windows_image import build_windows
from lab.errors import ConfigError
from lab.host.console import open_console
from lab.image import health, recipes, store
from lab.image.progress import open_progress
from lab.image.windows.inputs import UserInputs, read_product_key

_CacheOption = Annotated[
    Path | None, typer.Option("--cache", metavar="DIR", help="Cache folder; default: the user's (also LAB_CACHE)")
]
_STYLES = {"ok": "green", "warning": "yellow", "broken": "red"}
_STATES = {True: "current", False: "older recipe", None: "unknown"}


def register(app: typer.Typer) -> None:
    """Add the commands of `lab image`."""
    group = typer.Typer(no_args_is_help=True, help="Guest images: build, list, find, check.")
    group.command("build")(build)
    group.command("list")(list_images)
    group.command("path")(path)
    group.command("doctor")(doctor)
    app.add_typer(group, name="image")


def build(
    name: Annotated[str, typer.Argument(help="Recipe, for example wine or windows-server-2022")],
    cache: _CacheOption = None,
    force: Annotated[bool, typer.Option("--force", help="Build it even if it is up to date")] = False,
    iso: Annotated[Path | None, typer.Option("--iso", metavar="PATH", help="Windows: your installation ISO")] = None,
    allow_tcg: Annotated[
        bool, typer.Option("--allow-tcg", help="Windows: install even without KVM, which takes hours")
    ] = False,
    openssh_msi: Annotated[
        Path | None, typer.Option("--openssh-msi", metavar="PATH", help="Windows: install OpenSSH from this MSI in the guest")
    ] = None,
    product_key_file: Annotated[
        Path | None, typer.Option("--product-key-file", metavar="PATH", help="Windows: file with your product key")
    ] = None,
    certificate: Annotated[
        list[Path] | None,
        typer.Option(
            "--certificate", metavar="PATH", help="Windows: certificate that the guest trusts in addition; may be repeated"
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Windows: keep the disk of a failed build, with its logs")] = False,
) -> None:
    """Build a guest image, unless the one in the cache is up to date."""
    given = [
        flag
        for flag, value in (
            ("--iso", iso),
            ("--allow-tcg", allow_tcg),
            ("--openssh-msi", openssh_msi),
            ("--product-key-file", product_key_file),
            ("--certificate", certificate),
            ("--keep", keep),
        )
        if value
    ]
    if name in recipes.windows_names():
        recipe = recipes.windows_recipe(name)
        if iso is None:
            recipes.recipe_of(name)  # says what is needed
            return
        inputs = UserInputs(
            iso=iso,
            openssh_msi=openssh_msi,
            product_key=read_product_key(product_key_file) if product_key_file else None,
            certificates=tuple(certificate or ()),
        )
        build_windows(recipe, inputs, cache=cache, force=force, allow_tcg=allow_tcg, keep=keep)
        return
    free = recipes.recipe_of(name)
    if given:
        raise ConfigError(f"{', '.join(given)}: only for Windows images, and {name} is not one")
    with told_when_interrupted(lambda: NOTHING_LEFT), open_progress() as progress:
        folder, built = store.build_image(free, progress, cache=cache, force=force)
        if built:
            progress.done(f"image {name} is ready: {folder}")
    if not built:
        typer.echo(f"image {name} is up to date: {folder}")


def list_images(cache: _CacheOption = None) -> None:
    """List the images in the cache."""
    images = store.list_images(cache=cache)
    if not images:
        typer.echo(with_own_command(f"no images in {store.images_dir(cache)}; build one with `lab image build wine`"))
        return
    # A folder name cut in the middle would be of no use.
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
