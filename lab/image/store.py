"""Images in the cache folder: found, built when missing, published whole or not at all.

A build works in ``images/.<name>-<key>.<random>.tmp``, on which it holds a lock file, and renames that folder when
everything in it is complete. What a killed build left behind holds no lock any more, and whoever asks for an image next
removes it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from lab.errors import ImageError, LabError
from lab.host.passed import said
from lab.host.paths import cache_dir, make_folder
from lab.image.kind import Recipe
from lab.image.manifest import SCHEMA_VERSION, ImageManifest, load_credentials, load_manifest
from lab.image.progress import Progress
from lab.image.registry import kind_of

_LOG = logging.getLogger(__name__)
#: A build by someone else is waited for this long; a cold one takes a few minutes.
BUILD_WAIT_S = 3600.0
#: How work folders are named; nothing else is swept.
_WORK = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")
_LOCK_NAME = "build.lock"
#: How long a work folder may resist its removal.
_REMOVE_S = 5.0
_POLL_S = 0.05
#: Held for milliseconds, so that nobody sweeps a work folder whose builder has no lock on it yet.
_FOLDER_LOCK = ".lock"


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
        progress: Told what happens.
        cache: Cache folder; None: the user's.
        force: Build anew even if it is there; guests that run from the old one keep their files until they end.
        wait_s: Seconds to wait while another process builds.

    Returns:
        The image's folder, and whether it was built just now.

    Raises:
        ImageError: Another build did not end in time.
        LabError: Whatever the recipe raises.
    """
    base = images_dir(cache)
    target = image_folder(recipe, cache)
    if is_complete(target) and not force:
        _sweep(base)
        return target, False
    with _build_lock(base, recipe.name, progress, wait_s):
        if is_complete(target) and not force:
            return target, False
        remove_leftovers(base)
        with _work_folder(base, target.name) as work:
            recipe.build(work, progress)
            if not is_complete(work):
                raise ImageError(f"the {recipe.name} recipe ended without a complete image")
            _publish(work, target)
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
        f"no image {name_or_path!r} in {images_dir(cache)}" + (f"; there is {', '.join(known)}" if known else ""),
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
    found = []
    for folder in sorted(base.glob(".*.tmp")):
        with contextlib.suppress(Timeout, OSError), FileLock(folder / _LOCK_NAME, timeout=0):
            found.append(folder)
    return found


def remove_leftovers(base: Path) -> list[Path]:
    """Remove work folders whose builder is gone: those whose lock is free. Returns what was removed."""
    removed = []
    for folder in base.glob(".*.tmp"):
        if not (_WORK.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink()):
            continue  # not the lab's
        lock = FileLock(folder / _LOCK_NAME, timeout=0)
        try:
            with FileLock(base / _FOLDER_LOCK):
                lock.acquire()
            try:
                _remove(folder)
            finally:
                lock.release()
        except Timeout:
            continue
        except OSError as error:
            raise ImageError(
                f"{folder} is left over from an interrupted build and cannot be removed: {error}", hint=f"rm -rf {folder}"
            ) from error
        removed.append(folder)
    return removed


def _sweep(base: Path) -> None:
    """:func:`remove_leftovers` where nothing is built: what cannot be removed is in nobody's way."""
    try:
        for folder in remove_leftovers(base):
            _LOG.info("removed %s, left over from an interrupted build", folder)
    except ImageError as error:
        _LOG.warning("%s", error.message)


@contextlib.contextmanager
def _build_lock(base: Path, name: str, progress: Progress, wait_s: float) -> Iterator[None]:
    lock = FileLock(base / f".{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.stage(f"wait for another build of {name}")
        try:
            lock.acquire(timeout=wait_s)
        except Timeout:
            raise ImageError(
                f"another process has been building the image {name} for more than {wait_s:g} s",
                hint=f"find it with `fuser {base / f'.{name}.lock'}`",
            ) from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _work_folder(base: Path, name: str) -> Iterator[Path]:
    """A folder to build in, locked for as long as this process lives, removed unless it was renamed."""
    work = base / f".{name}.{secrets.token_hex(4)}.tmp"
    lock = FileLock(work / _LOCK_NAME)
    with FileLock(base / _FOLDER_LOCK):
        work.mkdir(mode=0o700)
        lock.acquire(timeout=0)
    try:
        yield work
    finally:
        if work.exists():
            _remove(work)
        lock.release()


def _publish(work: Path, target: Path) -> None:
    """Rename the complete folder to its final name; an older one makes room first."""
    for path in work.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    if target.exists():
        old = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        target.rename(old)
        work.rename(target)
        _remove(old)
    else:
        work.rename(target)
    (target / _LOCK_NAME).unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    """Remove a folder. A program that was killed may write into it for a moment more: its namespace is ended behind it."""
    deadline = time.monotonic() + _REMOVE_S
    while True:
        try:
            shutil.rmtree(folder)
            return
        except OSError:
            if not folder.exists():
                return
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)
