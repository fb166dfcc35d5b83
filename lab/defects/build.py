"""Builds the drivers of the catalogue, several at once, and puts each into the folder of its run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from lab.defects.catalogue import Planted
from lab.defects.source import write_changed
from lab.toolchain.build import BuildResult, build_components
from lab.toolchain.compile import Arch
from lab.toolchain.copies import RunCopies, copied_symbols
from lab.toolchain.files import sha256_of
from lab.toolchain.manifest import load_folder
from lab.toolchain.package import DriverPackage
from lab.toolchain.sign import SigningKey

_LOCK_TIMEOUT_S = 600.0


def build_defects(
    defects: Sequence[Planted], *, arch: Arch, folder: Path, key: SigningKey, done: Callable[[str], None]
) -> dict[str, BuildResult]:
    """Build the drivers with the defects; what has not changed since the last time is not built again.

    Args:
        defects: The defects.
        arch: Processor of the guests.
        folder: For sources and builds; kept between two commands.
        key: Signs the drivers.
        done: Called with the name of each finished one.

    Returns:
        Name of the defect → its driver.

    Raises:
        ConfigError: A defect does not fit the source of today, or does not compile.
        HostToolError: The compiler failed.
    """

    def build(planted: Planted) -> BuildResult:
        result = _build(planted, arch, folder / planted.name, key)
        done(planted.name)
        return result

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock", timeout=_LOCK_TIMEOUT_S), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return dict(zip((planted.name for planted in defects), pool.map(build, defects), strict=True))


def _build(planted: Planted, arch: Arch, folder: Path, key: SigningKey) -> BuildResult:
    components = load_folder(write_changed(planted, folder / "source"))
    wanted = [component for component in components if component.name == planted.driver]
    # Its warnings are part of the defect: a function that nothing calls any more, for example.
    [result] = build_components(wanted, arch, folder / arch, key, warn=lambda _line: None)
    return result


def with_defect(
    base: Sequence[DriverPackage], planted: Planted, built: BuildResult, *, into: Path
) -> tuple[DriverPackage, ...]:
    """The drivers of a run with a defect.

    Args:
        base: The unchanged drivers and their clients.
        planted: The defect.
        built: The driver with it; it is copied.
        into: Folder of the copy.
    """
    image = RunCopies(into).driver(planted.driver, built.path)
    return tuple(
        replace(one, image=image, sha256=sha256_of(image), symbols=copied_symbols(image), origin=built.path)
        if one.name == planted.driver
        else one
        for one in base
    )
