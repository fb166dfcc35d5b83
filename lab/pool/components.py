"""From names, folders and files of drivers to a payload: read the manifests, build what has sources."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lab.errors import ConfigError
from lab.pool.payload import DriverPackage, Payload
from lab.toolchain.build import build_components, default_out
from lab.toolchain.manifest import (
    MANIFEST_NAME,
    Component,
    by_name,
    known_components,
    load_component,
    load_folder,
    manifests_in,
)
from lab.toolchain.sign import signing_key

#: The suites' own client; it goes into every guest.
PROBE = "drvprobe"

Arch = Literal["x64", "x86"]


@dataclass(slots=True)
class _Chosen:
    """What goes into the payload: components by name, and finished files that take a component's place."""

    components: dict[str, Component] = field(default_factory=dict)
    finished: dict[str, Path] = field(default_factory=dict)
    foreign: list[DriverPackage] = field(default_factory=list)


def make_payload(
    given: Sequence[str],
    wanted: Iterable[str],
    *,
    arch: Arch,
    out: Path,
    progress: Callable[[str], None] = lambda _text: None,
) -> Payload:
    """Read, build and sign what a run needs. Safe to call from several processes at once: builds are done under a lock.

    Args:
        given: Drivers that the user names: a folder with a manifest, a manifest, a ``.sys`` file, or a name of the checkout.
            They take the place of the checkout's driver of the same name.
        wanted: Names that the tests ask for.
        arch: The guest's architecture.
        out: Folder for builds of drivers from outside of the checkout.
        progress: Told what is built.

    Raises:
        ConfigError: Something named does not exist, or a manifest is wrong.
        HostToolError: The compiler or the signing tool is missing or failed.
    """
    known = known_components()
    chosen = _Chosen()
    for text in given:
        _choose(text, known, chosen)
    for name in wanted:
        if name in chosen.components or any(package.name == name for package in chosen.foreign):
            continue
        component = known.get(name)
        if component is None or component.manifest.kind != "driver":
            continue  # the fixture says so for the tests concerned; the others can run
        chosen.components[name] = component
    clients = _clients(chosen, known)
    programs = [client for client in clients.values() if isinstance(client, Component)]
    files = _build([*chosen.components.values(), *programs], chosen, known, arch, out, progress)
    packages = [_package(component, files[name], arch) for name, component in chosen.components.items()]
    return Payload(
        drivers={package.name: package for package in [*packages, *chosen.foreign]},
        clients={name: client if isinstance(client, Path) else files[name] for name, client in clients.items()},
    )


def _choose(text: str, known: dict[str, Component], chosen: _Chosen) -> None:
    """Find out what one driver option means."""
    path = Path(text)
    if path.suffix.lower() == ".sys":
        _choose_file(path, known, chosen)
        return
    if path.is_dir():
        found = [component for component in load_folder(path) if component.manifest.kind == "driver"]
        if not found:
            raise ConfigError("no manifest of a driver in the folder", file=str(path), hint="driver/README.md shows one")
    elif path.is_file():
        found = [load_component(path)]
    elif path.name in known and len(path.parts) >= 1 and not path.exists():
        found = [known[path.name]]
    else:
        raise ConfigError(
            f"there is no driver {text}",
            hint=f"the folder of a {MANIFEST_NAME}, a .sys file, or one of {', '.join(sorted(known))}",
        )
    chosen.components.update({component.name: component for component in found})


def _choose_file(path: Path, known: dict[str, Component], chosen: _Chosen) -> None:
    """A finished ``.sys``, described by a manifest beside it, by the checkout's driver of that file name, or by itself."""
    if not path.is_file():
        raise ConfigError(f"there is no driver {path}", hint="`lab driver build` makes the lab's own")
    beside = [component for file in manifests_in(path.parent) for component in [load_component(file)]]
    drivers = [component for component in [*beside, *known.values()] if component.manifest.kind == "driver"]
    for component in drivers:
        if component.image_name.lower() == path.name.lower():
            chosen.components[component.name] = component
            chosen.finished[component.name] = path
            return
    chosen.foreign.append(DriverPackage(name=path.stem, service=path.stem, image=path))


def _clients(chosen: _Chosen, known: dict[str, Component]) -> dict[str, Component | Path]:
    """The programs that exercise the chosen drivers, by name, and the suites' own."""
    clients: dict[str, Component | Path] = {PROBE: known[PROBE]} if PROBE in known else {}
    for component in chosen.components.values():
        beside = by_name(load_component(file) for file in manifests_in(component.folder) if file != component.file)
        for name in component.manifest.clients:
            if name in beside or name in known:
                clients[name] = beside.get(name) or known[name]
                continue
            file = component.folder / name
            if not file.is_file():
                raise ConfigError(
                    f"client {name}: no program and no file of this name", file=str(component.file), key="clients"
                )
            clients[file.stem] = file
    return clients


def _build(
    components: Sequence[Component],
    chosen: _Chosen,
    known: dict[str, Component],
    arch: Arch,
    out: Path,
    progress: Callable[[str], None],
) -> dict[str, Path]:
    """Finished files by component name; what belongs to the checkout is built in its own folder, the rest in ``out``."""
    files: dict[str, Path] = dict(chosen.finished)
    own: list[Component] = []
    others: list[Component] = []
    for component in components:
        if component.name in files:
            continue
        if component.prebuilt is not None:
            files[component.name] = component.prebuilt
        elif known.get(component.name) == component:
            own.append(component)
        else:
            others.append(component)
    key = signing_key() if any(component.manifest.kind == "driver" for component in [*own, *others]) else None
    for group, folder in ((own, default_out(arch)), (others, out)):
        if group:
            built = build_components(group, arch, folder, key, progress=progress)
            files.update({result.name: result.path for result in built})
    return files


def _package(component: Component, image: Path, arch: Arch) -> DriverPackage:
    manifest = component.manifest
    return DriverPackage(
        name=component.name,
        service=component.service,
        image=image,
        links=manifest.links,
        group=manifest.load_order_group,
        clients=manifest.clients,
        encoding=manifest.encoding,
        arch=arch,
    )
