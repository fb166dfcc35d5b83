"""The recipes by name, and the way from a name to a usable image."""

from __future__ import annotations

from pathlib import Path

from lab.errors import ConfigError, ImageError
from lab.image.progress import Progress
from lab.image.store import Recipe, build_image, find_image
from lab.image.wine import NAME as WINE
from lab.image.wine import WineRecipe


def recipe_names() -> tuple[str, ...]:
    """Names that :func:`recipe_of` knows."""
    return (WINE,)


def recipe_of(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        ConfigError: There is none; the message lists those that there are.
    """
    if name == WINE:
        return WineRecipe()
    raise ConfigError(f"there is no image recipe {name!r}", hint=f"one of: {', '.join(recipe_names())}")


def ensure_image(name: str, progress: Progress, *, cache: Path | None = None) -> Path:
    """The folder of an image that is up to date, built now if need be.

    Args:
        name: A recipe's name, or anything else that :func:`lab.image.store.find_image` takes: that is used as it is.
        progress: Told what happens.
        cache: Cache folder; None: the user's.

    Raises:
        ImageError: It is neither a recipe nor an image.
    """
    if name in recipe_names():
        folder, built = build_image(recipe_of(name), progress, cache=cache)
        if built:
            progress.done(f"image {name} is ready: {folder}")
        return folder
    try:
        return find_image(name, cache=cache)
    except ImageError as error:
        raise ImageError(error.message, hint=f"a folder with a manifest.json, or one of: {', '.join(recipe_names())}") from None
