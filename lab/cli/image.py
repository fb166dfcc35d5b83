"""`lab image`: build guest images, list them, say where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from lab.errors import ConfigError
from lab.image import recipes, store
from lab.image.progress import open_progress

_CacheOption = Annotated[
    Path | None, typer.Option("--cache", metavar="DIR", help="Cache folder instead of the user's; also LAB_CACHE")
]


def register(app: typer.Typer) -> None:
    """Add the commands of `lab image`."""
    group = typer.Typer(no_args_is_help=True, help="Guest images: build, list, find.")

    @group.command("build")
    def build(
        name: Annotated[str, typer.Argument(help="Recipe, for example wine")],
        cache: _CacheOption = None,
        force: Annotated[bool, typer.Option("--force", help="Build it anew even if it is up to date")] = False,
    ) -> None:
        """Build a guest image, unless the one in the cache is up to date."""
        recipe = recipes.recipe_of(name)
        with open_progress() as progress:
            folder, built = store.build_image(recipe, progress, cache=cache, force=force)
            if built:
                progress.done(f"image {name} is ready: {folder}")
        if not built:
            typer.echo(f"image {name} is up to date: {folder}")

    @group.command("list")
    def list_images(cache: _CacheOption = None) -> None:
        """List the images in the cache."""
        images = store.list_images(cache=cache)
        if not images:
            typer.echo(f"no images in {store.images_dir(cache)}; build one with `lab image build wine`")
            return
        current = {name: recipes.recipe_of(name).key() for name in recipes.recipe_names()}
        # A folder name cut in the middle would be of no use.
        widest = max(len(image.path.name) for image in images)
        table = Table(Column("image", min_width=widest), "guest", "built", "MB", "state", box=None)
        for image in images:
            state = "current" if current.get(image.manifest.name) == image.manifest.key else "older recipe"
            size = f"{image.size / 1e6:.0f}"
            table.add_row(image.path.name, image.manifest.guest, image.manifest.created, size, state)
        Console().print(table)

    @group.command("path")
    def path(name: Annotated[str, typer.Argument(help="Name, name-key, or folder")], cache: _CacheOption = None) -> None:
        """Print the folder of an image."""
        if not name:
            raise ConfigError("the image's name is empty")
        typer.echo(str(recipes.existing_image(name, cache=cache)))

    app.add_typer(group, name="image")
