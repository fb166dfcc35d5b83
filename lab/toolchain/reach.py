"""Which files a driver is made of, from the compiler's own lists, to find the drivers that a change affects."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import ConfigError
from lab.host.passed import passed_over, said
from lab.toolchain.compile import Arch
from lab.toolchain.known import known_components, project_components
from lab.toolchain.manifest import Component, load_component, load_folder, manifests_in
from lab.toolchain.places import build_place
from lab.toolchain.product import clients_of, needed_by
from lab.toolchain.stamp import read_stamp

_LOG = logging.getLogger(__name__)
#: The compiler's own headers and libraries do not count as sources.
_SYSTEM = (Path("/usr"), Path("/opt"))


@dataclass(frozen=True, slots=True)
class DriverFiles:
    """The files that one driver is made of.

    Attributes:
        name: The driver's.
        files: Its sources, headers, manifest, what it brings along, and the same of its clients and of the drivers that it
            needs; a finished driver is its file.
    """

    name: str
    files: frozenset[Path]


def driver_files(paths: Sequence[Path], *, arch: Arch, project: Path) -> list[DriverFiles]:
    """The files of drivers, as they were built last; of one that was not built, all files of its folder.

    Drivers of the project that are not in ``paths`` are among them: a test's marker may name them.

    Args:
        paths: As the lab file and --driver name them.
        arch: What they are built for.
        project: The user's project.
    """
    known = known_components(project)
    found = []
    own = [one for one in project_components(project).components.values() if one.manifest.kind == "driver"]
    parts = {component.file.resolve(): component for path in paths for component in _components(path)}
    parts |= {component.file.resolve(): component for component in own}
    for component in parts.values():
        files = set(_files(component, arch, project))
        with passed_over(_LOG, f"drivers that {component.name} needs", ConfigError):
            for need in _needs(component, known):
                files |= set(_files(need, arch, project))
        # The build reports a client whose manifest is wrong just now.
        with passed_over(_LOG, f"clients of {component.name}", ConfigError):
            for client in clients_of(component, known):
                files |= {client.file.resolve()} if client.file else set()
                files |= set(_files(client.program, arch, project)) if client.program else set()
        found.append(DriverFiles(component.name, frozenset(files)))
    for path in paths:
        if path.suffix.lower() == ".sys":
            found.append(DriverFiles(_name_of(path, known), frozenset({path.resolve()})))
    return found


def _name_of(image: Path, known: Mapping[str, Component]) -> str:
    """The driver that a finished file stands for: that whose image has this name."""
    drivers = {part.image_name.lower(): part.name for part in known.values() if part.manifest.kind == "driver"}
    return drivers.get(image.name.lower(), image.stem)


def _components(path: Path) -> list[Component]:
    """What a path means; for a manifest that is broken just now, all files beside it."""
    try:
        if path.is_file():
            return [load_component(path)] if path.suffix in (".yaml", ".yml") else []
        if manifests_in(path):
            return load_folder(path)
        below = [folder for folder in sorted(path.iterdir()) if folder.is_dir() and manifests_in(folder)]
        return [component for folder in below for component in load_folder(folder)]
    except ConfigError as error:
        _LOG.info("%s cannot be read: %s", path, said(error))
        return []


def _needs(component: Component, known: Mapping[str, Component]) -> list[Component]:
    """The drivers that a driver needs, and those that they need."""
    found = {component.file: component}
    left = [component]
    while left:
        for need in needed_by(left.pop(), {}, known).values():
            if need is not None and need.file not in found:
                found[need.file] = need
                left.append(need)
    return list(found.values())[1:]


def _files(component: Component, arch: Arch, project: Path) -> list[Path]:
    stamp = read_stamp(build_place(component, arch, project) / component.image_name)
    folder = component.folder
    if stamp is None:
        own = [path for path in folder.iterdir() if path.is_file()]
    else:
        own = [folder / name for name in stamp.inputs.files]
        # A file that the last build did not read, such as a source that was added since.
        own += [folder / source for source in component.manifest.sources]
    brought = [file.path for file in component.manifest.files]
    own += [folder / name for name in (*brought, component.manifest.inf) if name]
    finished = [component.prebuilt] if component.prebuilt else []
    resolved = [path.resolve() for path in (*own, *finished, component.file)]
    return [path for path in resolved if not any(path.is_relative_to(system) for system in _SYSTEM)]
