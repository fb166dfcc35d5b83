"""Images in the cache folder: found, built when missing, published whole or not at all; see :mod:`lab.host.published`.

The next command that asks for an image removes what a killed build left.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from lab.errors import ImageError, LabError
from lab.host.passed import said
from lab.host.paths import cache_dir, make_folder
from lab.host.published import PublishedFolders
from lab.image.kind import Recipe
from lab.image.manifest import SCHEMA_VERSION, ImageManifest, load_credentials, load_manifest
from lab.image.progress import Progress
from lab.image.registry import kind_of

_LOG = logging.getLogger(__name__)
#: Longest wait for a build by another process; a cold build takes a few minutes.
BUILD_WAIT_S = 3600.0
_LOCK_NAME = "build.lock"


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image in the cache.

    Attributes:
        path: Its folder.
        manifest: Its manifest.
        size: Bytes that it takes on the disk.
    """

    path: Path
    manifest: ImageManifest
    size: int


def images_dir(cache: Path | None = None) -> Path:
    """The folder of images in ``cache`` (None: the user's cache folder); made if it is missing."""
    folder = (cache or cache_dir()) / "images"
    return make_folder(folder, "image", hint="set LAB_CACHE or --cache to a folder of yours")


def image_folder(recipe: Recipe, cache: Path | None = None) -> Path:
    """Where the image of this recipe's present key is, or will be."""
    return images_dir(cache) / f"{recipe.name}-{recipe.key()}"


def is_complete(folder: Path) -> bool:
    """The folder holds an image that this version of the lab can use."""
    try:
        manifest = load_manifest(folder)
        load_credentials(folder)
        return manifest.schema_version == SCHEMA_VERSION and not missing_files(folder, manifest)
    except (OSError, ValueError, LabError) as error:
        _LOG.debug("%s cannot be used: %s", folder, said(error))
        return False


def missing_files(folder: Path, manifest: ImageManifest) -> list[str]:
    """The files of an image that its manifest asks for, and that are not there; ``credentials.json`` is not among them.

    Raises:
        ImageError: The image is of a kind that no installed package has.
    """
    machine = manifest.machine
    wanted = [machine.disk, machine.kernel, machine.initrd, manifest.debug.disk if manifest.debug else None]
    wanted += kind_of(manifest).extra_files(manifest)
    return [name for name in wanted if name and not (folder / name).is_file()]


def build_image(
    recipe: Recipe, progress: Progress, *, cache: Path | None = None, force: bool = False, wait_s: float = BUILD_WAIT_S
) -> tuple[Path, bool]:
    """Build the image unless it is there already.

    Args:
        recipe: What to build.
        progress: Gets a line for each step.
        cache: Cache folder; None: the user's.
        force: Build anew even if it is there; guests that run from the old one keep their files until they end.
        wait_s: Seconds to wait while another process builds.

    Returns:
        The image's folder, and whether it was built just now.

    Raises:
        ImageError: Another build did not end in time.
        LabError: Anything that the recipe raises.
    """
    base = images_dir(cache)
    target = image_folder(recipe, cache)
    if is_complete(target) and not force:
        _sweep(base)
        return target, False

    def busy(lock: Path) -> ImageError:
        return ImageError(
            f"another process has been building the image {recipe.name} for more than {wait_s:g} s",
            hint=f"find it with `fuser {lock}`",
        )

    def waits() -> None:
        progress.stage(f"wait for another build of {recipe.name}")

    folders = _folders(base)
    with folders.maker(recipe.name, wait_s=wait_s, waits=waits, busy=busy):
        if is_complete(target) and not force:
            return target, False
        remove_leftovers(base)
        with folders.work_folder(target.name) as work:
            recipe.build(work, progress)
            if not is_complete(work):
                raise ImageError(f"the {recipe.name} recipe ended without a complete image")
            folders.publish(work, target, replaces=True)
    return target, True


def find_image(name_or_path: str, *, cache: Path | None = None) -> Path:
    """The folder of an image.

    Args:
        name_or_path: A folder with a manifest, a name such as ``wine`` (the newest image of that name), or ``name-key``.
        cache: Cache folder; None: the user's.

    Raises:
        ImageError: There is no such image.
    """
    given = Path(name_or_path).expanduser()
    if (given / "manifest.json").is_file():
        return given.absolute()
    images = list_images(cache=cache)
    for image in images:
        if image.path.name == name_or_path:
            return image.path
    of_name = [image for image in images if image.manifest.name == name_or_path]
    if of_name:
        return max(of_name, key=lambda image: image.manifest.created).path
    known = sorted({image.manifest.name for image in images})
    raise ImageError(
        f"no image {name_or_path!r} in {images_dir(cache)}" + (f"; available: {', '.join(known)}" if known else ""),
        hint=f"lab image build {name_or_path}",
    )


def list_images(*, cache: Path | None = None) -> list[StoredImage]:
    """All usable images, by name, newest first."""
    found = []
    for folder in images_dir(cache).iterdir():
        if not folder.name.startswith(".") and is_complete(folder):
            found.append(StoredImage(folder, load_manifest(folder), disk_usage(folder)))
    found.sort(key=lambda image: image.manifest.created, reverse=True)
    return sorted(found, key=lambda image: image.manifest.name)


def disk_usage(folder: Path) -> int:
    """Bytes that a folder takes on the disk."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def leftovers(base: Path) -> list[Path]:
    """Work folders whose builder is gone: those whose lock is free."""
    return _folders(base).leftovers()


def remove_leftovers(base: Path) -> list[Path]:
    """Remove work folders whose builder is gone: those whose lock is free. Returns what was removed.

    Raises:
        ImageError: One cannot be removed.
    """

    def stuck(folder: Path, error: OSError) -> None:
        raise ImageError(
            f"{folder} is left over from an interrupted build and cannot be removed: {error}", hint=f"rm -rf {folder}"
        ) from error

    return _folders(base).sweep(stuck)


def _sweep(base: Path) -> None:
    """Remove leftovers when nothing is built. A folder that cannot be removed does no harm, and stays."""

    def stuck(folder: Path, error: OSError) -> None:
        _LOG.warning("%s is left over from an interrupted build and cannot be removed: %s", folder, error)

    for folder in _folders(base).sweep(stuck):
        _LOG.info("removed %s, left over from an interrupted build", folder)


def _folders(base: Path) -> PublishedFolders:
    return PublishedFolders(base, _LOCK_NAME)
