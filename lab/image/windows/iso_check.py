"""Compares what an ISO says of itself with the answer file: Setup stops at a contradiction, hours later, without a message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from lab.errors import ConfigError
from lab.image.windows.iso import WindowsIso
from lab.image.windows.recipe import RECIPE_FILE, Windows, WindowsRecipeFile
from lab.image.windows.wim import ARCH, Edition

#: The builds of each version: the first one, and the first one that is not of it any more. An image's name can be wrong:
#: ISOs of Windows 11 exist whose images are called Windows 10.
_BUILDS: Mapping[Windows, tuple[int, int]] = {
    "10": (10240, 22000),
    "11": (22000, 1 << 31),
    "server-2022": (20348, 20349),
    "server-2025": (26100, 1 << 31),
}
_LOADER = f"boot{ARCH}.efi"


def check_iso(iso: WindowsIso, edition: Edition, recipe: WindowsRecipeFile, *, product_key: bool = False) -> None:
    """Compare an ISO with what is to be installed from it.

    Args:
        iso: What is known of the ISO.
        edition: The image in it that was chosen.
        recipe: What to install.
        product_key: The user gave a key.

    Raises:
        ConfigError: Its processor, version, language, edition or licence is another one than the answer file's, or it has an
            answer file of its own; names the key to change.
    """
    _processor(iso, edition, recipe)
    _version(iso, edition, recipe)
    _language(iso, "its Setup", iso.setup_languages, recipe)
    _language(iso, f"its {edition.name}", edition.languages, recipe)
    if iso.only_edition and edition.edition and iso.only_edition.lower() != edition.edition.lower():
        raise ConfigError(
            f"{iso.path} installs {iso.only_edition} only (see its sources/ei.cfg), and not {edition.name} ({edition.edition})",
            hint=f"write the name of that edition under `editions` in {_file(recipe)}, or use an ISO without ei.cfg",
        )
    if iso.own_answer_file:
        raise ConfigError(
            f"{iso.path} has an answer file of its own, {iso.own_answer_file}, and Setup might take it instead of the lab's",
            hint="use the ISO as Microsoft publishes it, not a changed one",
        )
    _licence(iso, edition, product_key)


def _processor(iso: WindowsIso, edition: Edition, recipe: WindowsRecipeFile) -> None:
    if edition.arch not in ("", ARCH):
        raise ConfigError(
            f"{iso.path} is for {edition.arch} processors, and the lab's guests are {ARCH}", hint="use the 64-bit (x64) ISO"
        )
    if recipe.machine.firmware == "uefi" and iso.boot_loaders and _LOADER not in iso.boot_loaders:
        raise ConfigError(
            f"{iso.path} does not start a UEFI VM with an {ARCH} processor: its efi/boot has {', '.join(iso.boot_loaders)}",
            hint="use the 64-bit (x64) ISO",
        )


def _version(iso: WindowsIso, edition: Edition, recipe: WindowsRecipeFile) -> None:
    first, end = _BUILDS[recipe.windows]
    if edition.build.isdigit() and not first <= int(edition.build) < end:
        fitting = [version for version, (low, high) in _BUILDS.items() if low <= int(edition.build) < high]
        other = f": that of Windows {' or '.join(fitting)}" if fitting else ""
        raise ConfigError(
            f"{edition.name} in {iso.path} is build {edition.build}{other}, "
            f"and {_file(recipe)} is for Windows {recipe.windows}",
            hint="use the recipe of that version, or another ISO",
        )


def _licence(iso: WindowsIso, edition: Edition, product_key: bool) -> None:
    """A client or server that is sold asks for its product key at the start, unless the ISO or the answer file has one."""
    if product_key and edition.is_evaluation:
        raise ConfigError(
            f"{edition.name} ({edition.edition}) in {iso.path} is an evaluation, which needs no product key",
            hint="leave out --product-key-file, or use an ISO that is not an evaluation",
        )
    evaluation = edition.is_evaluation or "evaluation" in edition.name.lower() or iso.channel.lower() == "eval"
    if not (product_key or evaluation or iso.has_key or iso.channel.lower() == "volume"):
        raise ConfigError(
            f"{edition.name} in {iso.path} is no evaluation, so its Setup asks for a product key, and there is none",
            hint="use an evaluation ISO; or --product-key-file with your own key, or with the edition's KMS client setup key: "
            "Microsoft publishes these, and they install and do not activate",
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
