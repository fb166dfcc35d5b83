"""Drivers and programs by name: those of the lab itself, and those of the user's project."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.config.project import user_project
from lab.errors import ConfigError
from lab.host.assets import data_root
from lab.toolchain.manifest import MANIFEST_NAME, Component, load_component, load_folder, manifests_in

_LOG = logging.getLogger(__name__)
#: How deep below a project manifests are searched for. Without a repository or a lab file, the folder may be a home folder.
_DEPTH, _DEPTH_ANYWHERE = 6, 2
#: Folders of third-party files and of builds.
_SKIPPED = frozenset({"build", "out", "node_modules", "site-packages", "venv", "__pycache__"})


@dataclass(frozen=True, slots=True)
class Found:
    """What a project holds.

    Attributes:
        components: By name.
        ambiguous: Name → the manifests that have it; such a component is named by its path.
        broken: Manifest → why it cannot be read. It matters only when it is named.
    """

    components: dict[str, Component] = field(default_factory=dict)
    ambiguous: dict[str, tuple[Path, ...]] = field(default_factory=dict)
    broken: dict[Path, ConfigError] = field(default_factory=dict)


def known_components(project: Path | None = None) -> dict[str, Component]:
    """All components that have a name: those of the user's project, and the lab's own.

    A name that both have means the project's.

    Args:
        project: The user's project; None finds it from the current folder.

    Raises:
        ConfigError: Two of the lab's own have one name or build one file.
    """
    here = (project or user_project()).resolve()
    ours = lab_components()
    return ours if here == data_root().resolve() else ours | project_components(here).components


def lab_components(root: Path | None = None) -> dict[str, Component]:
    """The lab's own by name: clients, guest tools, relay, self-test; in a checkout its two drivers, too.

    Args:
        root: Folder of ``driver/`` and ``vm-images/``; None: :func:`lab.host.assets.data_root`.

    Raises:
        ConfigError: A manifest is wrong, or two have one name or build one file.
    """
    base = root or data_root()
    folders = sorted(
        path
        for parent in (base / "driver", *(base / "vm-images" / name for name in ("tools", "windows-common")))
        for path in parent.glob("*/")
    )
    return by_name(component for folder in folders for file in manifests_in(folder) for component in [load_component(file)])


def project_components(project: Path) -> Found:
    """The drivers and programs of a user's project: every manifest in it, but for those in folders of builds.

    Args:
        project: See :func:`lab.config.project.user_project`.
    """
    marked = any((project / name).exists() for name in (".git", "lab.yaml"))
    found = Found()
    places: dict[str, list[Path]] = {}
    for file in _manifests_below(project, _DEPTH if marked else _DEPTH_ANYWHERE):
        try:
            component = load_component(file)
        except ConfigError as error:
            _LOG.info("%s cannot be used by name: %s", file, error)
            found.broken[file] = error
            continue
        places.setdefault(component.name, []).append(file)
        found.components[component.name] = component
    for name, files in places.items():
        if len(files) > 1:
            found.ambiguous[name] = tuple(files)
            del found.components[name]
    return found


def refuse_unsound(found: Found) -> None:
    """Refuse what :func:`project_components` left out, when all of a project is asked for.

    Raises:
        ConfigError: A manifest cannot be read, or two have one name.
    """
    for name, files in found.ambiguous.items():
        places = " and ".join(map(str, files))
        raise ConfigError(f"{name} is the name of {places}", hint="rename one of them, or use its path")
    for error in found.broken.values():
        raise error


def unknown_name(name: str, known: Iterable[str], project: Path | None = None) -> ConfigError:
    """The error for a name that :func:`known_components` lacks: two manifests may have it, or its manifest may be wrong."""
    found = project_components((project or user_project()).resolve())
    if name in found.ambiguous:
        places = " and ".join(map(str, found.ambiguous[name]))
        return ConfigError(f"{name} is the name of {places}", hint="use the path of the one that you mean")
    wrong = next(iter(found.broken.values()), None)
    hint = f"one of {', '.join(sorted(known))}, or the path of a folder with a {MANIFEST_NAME}"
    if wrong is not None:
        hint += f"; one manifest of this project could not be read: {wrong}"
    return ConfigError(f"there is no driver or program called {name}, and no such folder", hint=hint)


def find_components(names: Sequence[str], project: Path | None = None) -> list[Component]:
    """Components by name or path; for no names all of the project that can be built.

    Raises:
        ConfigError: A name is unknown, a manifest is wrong, or there is nothing to build.
    """
    home = project or user_project()
    if not names:
        return _all_of(home)
    known: dict[str, Component] | None = None  # manifests are only read when a name asks for them
    found: list[Component] = []
    for name in names:
        path = Path(name)
        if path.is_dir() and "/" in name:
            found += load_folder(path)
            continue
        if path.name.endswith(MANIFEST_NAME):
            found.append(load_component(path))
            continue
        known = known_components(home) if known is None else known
        if name in known:
            found.append(known[name])
        elif path.is_dir():
            found += load_folder(path)
        else:
            raise unknown_name(name, known, home)
    return found


def _all_of(project: Path) -> list[Component]:
    if project.resolve() == data_root().resolve():
        own = known_components(project)
    else:
        found = project_components(project)
        refuse_unsound(found)
        own = found.components
    if not own:
        raise ConfigError(
            f"there is nothing to build: there is no {MANIFEST_NAME} in {project} or below it",
            hint="`lab init` writes one; or give a folder that has one",
        )
    return [component for component in own.values() if not component.prebuilt]


def by_name(components: Iterable[Component]) -> dict[str, Component]:
    """Index components by name; two with one name, or with one file name, are a ConfigError."""
    found: dict[str, Component] = {}
    images: dict[str, Component] = {}
    for component in components:
        for key, value, seen in (
            ("name", component.name, found.get(component.name)),
            ("image", component.image_name, images.get(component.image_name.lower())),
        ):
            if seen:
                raise ConfigError(
                    f"{value} is taken by {seen.file}", file=str(component.file), key=key, hint="rename one of them"
                )
        found[component.name] = images[component.image_name.lower()] = component
    return found


def _manifests_below(folder: Path, depth: int) -> Iterator[Path]:
    """Manifests of a folder and of those below it, in a stable order; links to folders are not followed."""
    yield from manifests_in(folder)
    if depth == 0:
        return
    try:
        with os.scandir(folder) as entries:
            below = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError as error:
        _LOG.info("%s is not searched for manifests: %s", folder, error.strerror)
        return
    for name in below:
        if not name.startswith(".") and name not in _SKIPPED:
            yield from _manifests_below(folder / name, depth - 1)
