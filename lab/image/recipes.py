"""The recipes of all kinds of guest by name, and the way from a name to a usable image."""

from __future__ import annotations

from pathlib import Path

from lab.errors import ConfigError, ImageError
from lab.image.kind import GuestKind, Recipe
from lab.image.names import one_of
from lab.image.progress import Progress
from lab.image.registry import usable_kinds
from lab.image.store import build_image, find_image, list_images


def recipe_names() -> tuple[str, ...]:
    """Names of all recipes, those first that the lab builds by itself."""
    return tuple(name for kind in usable_kinds() for name in kind.recipe_names())


def kind_of_recipe(name: str) -> GuestKind | None:
    """The kind that has a recipe of this name; None: no kind has."""
    return next((kind for kind in usable_kinds() if name in kind.recipe_names()), None)


def known_recipe(name: str) -> GuestKind:
    """The kind that has a recipe of this name, which a user wrote.

    Raises:
        ConfigError: There is none; the hint lists all names.
    """
    kind = kind_of_recipe(name)
    if kind is None:
        raise ConfigError(f"there is no image recipe {name!r}", hint=one_of(name, recipe_names()))
    return kind


def recipe_of(name: str) -> Recipe:
    """The recipe of this name that needs nothing from the user.

    Raises:
        ConfigError: There is none, and the message lists all names; or the recipe needs something, and the message says what.
    """
    return known_recipe(name).recipe(name)


def ensure_image(name: str, progress: Progress, *, cache: Path | None = None) -> Path:
    """The folder of an image that is up to date, built now if necessary.

    Args:
        name: A recipe's name, or anything else that :func:`lab.image.store.find_image` accepts; such an image is used as it is.
        progress: Gets a line for each step.
        cache: Cache folder; None: the user's.

    Raises:
        ConfigError: It is neither a recipe nor an image, or the image is not built yet and needs something from the user.
    """
    kind = kind_of_recipe(name)
    if kind is None or not kind.builds_itself:
        return existing_image(name, cache=cache)
    folder, built = build_image(kind.recipe(name), progress, cache=cache)
    if built:
        progress.done(f"image {name} is ready: {folder}")
    return folder


def builder_of(name: str, *, cache: Path | None = None) -> GuestKind | None:
    """The kind whose recipe :func:`ensure_image` would run now; None: it would build nothing."""
    kind = kind_of_recipe(name)
    if kind is None or not kind.builds_itself:
        return None
    key = kind.recipe(name).key()
    return kind if all(image.manifest.key != key for image in list_images(cache=cache)) else None


def existing_image(name: str, *, cache: Path | None = None) -> Path:
    """The folder of an image as it is, for a name that a user wrote; builds nothing.

    Args:
        name: What :func:`lab.image.store.find_image` takes.
        cache: Cache folder; None: the user's.

    Raises:
        ConfigError: The name is a recipe's, and its image is not built yet; or there is nothing of this name: the hint lists
            similar names, or all of them.
    """
    try:
        return find_image(name, cache=cache)
    except ImageError as error:
        kind = kind_of_recipe(name)
        if kind is not None and kind.builds_itself:
            raise ConfigError(error.message, hint=kind.build_command(name)) from None
        if kind is not None:
            hint = f"{kind.build_command(name)}; {kind.build_source}"
            raise ConfigError(f"the image {name} is not built yet", hint=hint) from None
        images = list_images(cache=cache)
        names = dict.fromkeys([*recipe_names(), *(image.manifest.name for image in images)])
        folders = [image.path.name for image in images]
        raise ConfigError(error.message, hint=one_of(name, list(names), also=folders)) from None
