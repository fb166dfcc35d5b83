"""Where builds go, and which files there a build must not replace."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from lab.config.project import user_project
from lab.errors import ConfigError
from lab.host.assets import data_root, installed
from lab.host.paths import cache_dir
from lab.toolchain.compile import Arch
from lab.toolchain.instrument import MEASURED
from lab.toolchain.manifest import Component
from lab.toolchain.stamp import read_stamp, stamp_file


def default_out(arch: Arch, project: Path | None = None) -> Path:
    """Where builds of the user's components go unless another folder is named: ``build/ARCH`` in the user's project.

    Args:
        arch: What is built for.
        project: The project; None finds it from the current folder.
    """
    return (project or user_project()) / "build" / arch


def lab_out(arch: Arch) -> Path:
    """Where builds of the lab's own components go: the checkout's ``build/ARCH``, or the cache where the lab was installed.

    Each installation has a folder of its own there: builds know the place that they were made from.
    """
    root = data_root()
    if not installed():
        return root / "build" / arch
    return cache_dir() / "builds" / hashlib.sha256(os.fsencode(root)).hexdigest()[:12] / arch


def build_place(component: Component, arch: Arch, project: Path, out: Path | None = None, *, measured: bool = False) -> Path:
    """The folder in which a component is built. That of the project is made if it is missing.

    Args:
        component: What is built.
        arch: What for.
        project: The user's project.
        out: Folder of builds for all; None: those of the lab itself in :func:`lab_out`, others in :func:`default_out`.
        measured: For drivers that count their lines: a subfolder.
    """
    place = _place(component, arch, project, out)
    return place / MEASURED if measured else place


def _place(component: Component, arch: Arch, project: Path, out: Path | None) -> Path:
    if component.file.resolve().is_relative_to(data_root().resolve()):
        return out or lab_out(arch)
    return place_of(component, out or _make_out(default_out(arch, project)), project)


def place_of(component: Component, folder: Path, project: Path) -> Path:
    """Where a component of the user is built, below a folder of builds.

    A component of the project is built in that folder itself, unless the file there belongs to another manifest, or was not
    built here. Two manifests of one driver have nothing in common but its name.

    Args:
        component: What is built.
        folder: See :func:`default_out`.
        project: The user's project.
    """
    target = folder / component.image_name
    if component.file.resolve().is_relative_to(project.resolve()) and not _is_foreign(component, target):
        return folder
    digest = hashlib.sha256(os.fsencode(component.file.resolve())).hexdigest()[:12]
    return folder / "selected" / f"{component.name}-{digest}"


def _make_out(out: Path) -> Path:
    """The project's folder of builds, made if it is missing, and then excluded from version control."""
    if not out.is_dir():
        out.mkdir(parents=True, exist_ok=True)
        (out / ".gitignore").write_text("*\n", encoding="ascii")
    return out


def symbol_file(image: Path) -> Path:
    """The symbols of a driver that was built here, under a name that users' files do not have."""
    return image.parent / ".symbols" / f"{image.stem}.dbg"


def refuse_clashes(components: Sequence[Component]) -> None:
    """Two components whose files have one name would overwrite each other."""
    images: dict[str, Component] = {}
    for component in components:
        other = images.setdefault(component.image_name.lower(), component)
        if other.file.resolve() != component.file.resolve():
            raise ConfigError(
                f"{other.file} builds a file with this name, too",
                file=str(component.file),
                key="image",
                hint="build them separately, each with its own --out",
            )


def refuse_foreign(component: Component, out: Path) -> None:
    """Refuse to replace a file without a stamp, which was not built here, or a file of another component."""
    target = out / component.image_name
    if not target.exists():
        return
    if not stamp_file(target).exists():
        raise ConfigError(
            f"{target} was not built by the lab, and the build would replace it",
            hint=f"name another folder with --out, or remove {target}",
        )
    said = read_stamp(target)
    if said is not None and said.manifest != relative_to_builds(component, out):
        other = Path(os.path.normpath(out.resolve() / said.manifest))
        if other.is_file():
            raise ConfigError(
                f"{target} is the build of {other}, and would be replaced by the build of {component.file}",
                hint=f"name another folder with --out, or remove {target}",
            )


def _is_foreign(component: Component, target: Path) -> bool:
    """Whether :func:`refuse_foreign` would refuse."""
    try:
        refuse_foreign(component, target.parent)
    except ConfigError:
        return True
    return False


def relative_to_builds(component: Component, out: Path) -> str:
    """Where a component lies, seen from a folder of builds: the same after a checkout was moved or copied as a whole."""
    return os.path.relpath(component.file.resolve(), out.resolve())
