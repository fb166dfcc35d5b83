"""The recipes by name, and the way from a name to a usable image."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from lab.errors import ConfigError, ImageError
from lab.host.assets import data_root
from lab.image.progress import Progress
from lab.image.store import Recipe, build_image, find_image, list_images
from lab.image.windows.recipe import RECIPE_FILE, WindowsRecipeFile, load_recipe
from lab.image.wine.recipe import NAME as WINE
from lab.image.wine.recipe import WineRecipe

_IMAGES = "vm-images"
_WINDOWS = "windows-"


def recipe_names() -> tuple[str, ...]:
    """Names of all recipes: the free guest's, and those of Windows, which are built from a user's ISO."""
    return (WINE, *windows_names())


def windows_names(root: Path | None = None) -> tuple[str, ...]:
    """Names of the Windows recipes of the lab."""
    folders = ((root or data_root()) / _IMAGES).glob(f"{_WINDOWS}*/{RECIPE_FILE}")
    return tuple(sorted(file.parent.name for file in folders))


def windows_recipe(name: str, root: Path | None = None) -> WindowsRecipeFile:
    """The recipe of a Windows image.

    Raises:
        ConfigError: There is none of this name, or it is wrong.
    """
    names = windows_names(root)
    if name not in names:
        raise ConfigError(f"there is no Windows recipe {name!r}", hint=_one_of(name, names))
    return load_recipe((root or data_root()) / _IMAGES / name)


def recipe_of(name: str) -> Recipe:
    """The recipe of this name that needs nothing from the user.

    Raises:
        ConfigError: There is none; the message lists those that there are, or says what is needed.
    """
    if name == WINE:
        return WineRecipe()
    if name in windows_names():
        raise ConfigError(f"the image {name} is made from your own Windows ISO", hint=_build_windows(name))
    raise ConfigError(f"there is no image recipe {name!r}", hint=_one_of(name, recipe_names()))


def ensure_image(name: str, progress: Progress, *, cache: Path | None = None) -> Path:
    """The folder of an image that is up to date, built now if need be.

    Args:
        name: A recipe's name, or anything else that :func:`lab.image.store.find_image` takes: that is used as it is.
        progress: Told what happens.
        cache: Cache folder; None: the user's.

    Raises:
        ConfigError: It is neither a recipe nor an image, or it is a Windows recipe, and its image is not built yet: that needs
            the user's ISO.
    """
    if name == WINE:
        folder, built = build_image(recipe_of(name), progress, cache=cache)
        if built:
            progress.done(f"image {name} is ready: {folder}")
        return folder
    return existing_image(name, cache=cache)


def must_be_built(name: str, *, cache: Path | None = None) -> bool:
    """Whether :func:`ensure_image` would build an image now."""
    if name != WINE:
        return False
    key = recipe_of(name).key()
    return all(image.manifest.key != key for image in list_images(cache=cache))


def existing_image(name: str, *, cache: Path | None = None) -> Path:
    """The folder of an image as it is, for a name that a user wrote; builds nothing.

    Args:
        name: What :func:`lab.image.store.find_image` takes.
        cache: Cache folder; None: the user's.

    Raises:
        ConfigError: The name is a recipe's, and its image is not built yet; or there is nothing of this name: the hint tells
            the names that are close, or all of them.
    """
    try:
        return find_image(name, cache=cache)
    except ImageError as error:
        if name == WINE:
            raise ConfigError(error.message, hint=error.hint) from None
        if name in windows_names():
            raise ConfigError(f"the image {name} is not built yet", hint=_build_windows(name)) from None
        images = list_images(cache=cache)
        names = dict.fromkeys([*recipe_names(), *(image.manifest.name for image in images)])
        folders = [image.path.name for image in images]
        raise ConfigError(error.message, hint=_one_of(name, list(names), also=folders)) from None


def _build_windows(name: str) -> str:
    return f"lab image build {name} --iso PATH; docs/windows.md says where such an ISO comes from"


def _one_of(name: str, names: Sequence[str], *, also: Sequence[str] = ()) -> str:
    """What may have been meant: the names close to ``name`` (those in ``also``, too), and all of ``names``."""
    close = difflib.get_close_matches(name, [*names, *also], n=3)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    return f"{meant}available: {', '.join(names)}"
