"""Compares what an ISO says of itself with the answer file: Setup stops at a contradiction, hours later, without a message."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lab.errors import ConfigError
from lab.image.windows.iso import WindowsIso
from lab.image.windows.recipe import RECIPE_FILE, WindowsRecipeFile
from lab.image.windows.wim import Edition

_ARCH = "x64"


def check_iso(iso: WindowsIso, edition: Edition, recipe: WindowsRecipeFile, *, product_key: bool = False) -> None:
    """Compare an ISO with what is to be installed from it.

    Args:
        iso: What is known of the ISO.
        edition: The image in it that was chosen.
        recipe: What to install.
        product_key: The user gave a key.

    Raises:
        ConfigError: Its processor, its language or its edition is another one than the answer file's; names the key to change.
    """
    if edition.arch not in ("", _ARCH):
        raise ConfigError(
            f"{iso.path} is for {edition.arch} processors, and the lab's guests are x64", hint="use the 64-bit (x64) ISO"
        )
    _language(iso, "its Setup", iso.setup_languages, recipe)
    _language(iso, f"its {edition.name}", edition.languages, recipe)
    if iso.only_edition and edition.edition and iso.only_edition.lower() != edition.edition.lower():
        raise ConfigError(
            f"{iso.path} installs {iso.only_edition} only (see its sources/ei.cfg), and not {edition.name} ({edition.edition})",
            hint=f"write the name of that edition under `editions` in {_file(recipe)}, or use an ISO without ei.cfg",
        )
    if product_key and edition.is_evaluation:
        raise ConfigError(
            f"{edition.name} ({edition.edition}) in {iso.path} is an evaluation, which needs no product key",
            hint="leave out --product-key-file, or use an ISO that is not an evaluation",
        )


def _language(iso: WindowsIso, what: str, languages: Iterable[str], recipe: WindowsRecipeFile) -> None:
    told = [spelled(tag) for tag in languages]
    if told and spelled(recipe.locale) not in told:
        raise ConfigError(
            f"{iso.path} has another language: {what} has {', '.join(told)}, and the recipe's locale is {recipe.locale}",
            hint=f"write `locale: {told[0]}` into {_file(recipe)}, or use an ISO in {recipe.locale}",
        )


def _file(recipe: WindowsRecipeFile) -> Path:
    return Path("vm-images") / recipe.name / RECIPE_FILE


def spelled(tag: str) -> str:
    """A language tag as Windows spells it: ``de-de`` is de-DE, ``sr-latn-rs`` is sr-Latn-RS."""
    first, *rest = tag.split("-")
    return "-".join([first.lower(), *(part.title() if len(part) == 4 else part.upper() for part in rest)])
