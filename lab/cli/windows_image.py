"""`lab image build windows-…`: the user's ISO, this machine's accelerator, and where the logs are."""

from __future__ import annotations

import datetime
import shlex
from pathlib import Path

import typer

from lab.cli.interrupt import NOTHING_LEFT, told_when_interrupted
from lab.cli.invocation import with_own_command
from lab.host.accel import QEMU, choose_accelerator, probe_accelerators
from lab.host.paths import cache_dir, state_dir
from lab.host.qemu import qemu_version
from lab.image.progress import open_progress
from lab.image.store import build_image, list_images
from lab.image.windows.build import BuildOptions, WindowsRecipe, build_log_dir
from lab.image.windows.inputs import UserInputs
from lab.image.windows.install_host import require_accelerator
from lab.image.windows.iso import inspect_iso
from lab.image.windows.iso_check import check_iso
from lab.image.windows.recipe import WindowsRecipeFile


def build_windows(
    recipe: WindowsRecipeFile, given: UserInputs, *, cache: Path | None, force: bool, allow_tcg: bool, keep: bool
) -> None:
    """Build a Windows image and say what came of it.

    Raises:
        LabError: What is wrong; nothing half-built is left.
    """
    # Before anything that takes time: is it the right ISO, and is this the right machine?
    iso = inspect_iso(given.iso)
    check_iso(iso, iso.choose(recipe.editions), recipe, product_key=given.product_key is not None)
    found = probe_accelerators(cache_dir())
    built_before = any(image.manifest.name == recipe.name for image in list_images(cache=cache))
    if not built_before or force:
        require_accelerator(found.kvm.usable, allow_tcg)
    options = BuildOptions(
        accelerator=choose_accelerator("auto", found),
        log_dir=build_log_dir(state_dir(), recipe.name, datetime.datetime.now(datetime.UTC)),
        keep_failed=keep,
        qemu=qemu_version(QEMU),
        before=lambda: require_accelerator(found.kvm.usable, allow_tcg),
    )

    def left() -> str:
        return f"{NOTHING_LEFT}; logs: {options.log_dir}" if options.log_dir.exists() else NOTHING_LEFT

    with told_when_interrupted(left), open_progress() as progress:
        windows = WindowsRecipe(recipe, given, options, progress, cache=cache)
        folder, built = build_image(windows, progress, cache=cache, force=force)
        if built:
            progress.done(f"image {recipe.name} is ready: {folder}")
    if not built:
        typer.echo(f"image {recipe.name} is up to date: {folder}")
        return
    typer.echo(f"logs of the build: {options.log_dir}")
    if cache is None:
        typer.echo(with_own_command(f"try: lab image doctor; lab run --guest {recipe.name}"))
    else:
        # A run looks into the user's cache folder only.
        where = shlex.quote(str(cache))
        typer.echo(with_own_command(f"try: lab image doctor --cache {where}; lab run --guest {shlex.quote(str(folder))}"))
