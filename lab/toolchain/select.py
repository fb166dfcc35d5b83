"""Which drivers a run loads: those of its lab file, replaced or joined by those that the user or a test names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

from lab.config.project import user_project
from lab.config.yamlfile import dotted
from lab.errors import ConfigError
from lab.toolchain import pe
from lab.toolchain.build import BuildResult, Progress, build_components
from lab.toolchain.compile import Arch
from lab.toolchain.copies import RunCopies, copied_symbols, folder_of_process
from lab.toolchain.files import sha256_of
from lab.toolchain.instrument import COLLECTOR
from lab.toolchain.known import known_components, lab_components, unknown_name
from lab.toolchain.manifest import MANIFEST_NAME, Component, load_component, load_folder, manifests_in
from lab.toolchain.package import PACKAGES_FILE as PACKAGES_FILE
from lab.toolchain.package import DriverPackage as DriverPackage
from lab.toolchain.package import PlacedFile as PlacedFile
from lab.toolchain.package import Spot, write_packages
from lab.toolchain.package import read_packages as read_packages
from lab.toolchain.pe import ImageFacts
from lab.toolchain.places import build_place
from lab.toolchain.product import Client, clients_of, needed_by, refuse_rings
from lab.toolchain.provenance import Provenance, commit_around, commit_of, file_version
from lab.toolchain.reg_file import reg_file
from lab.toolchain.sign import SigningKey, signing_key
from lab.toolchain.stamp import read_stamp


@dataclass(frozen=True, slots=True)
class _Choice:
    """A component, and the finished image that takes the place of its build."""

    component: Component
    image: Path | None = None


def resolve_drivers(
    paths: Sequence[Path] = (),
    *,
    beside: Sequence[Path] = (),
    names: Sequence[str] = (),
    present: Collection[str] = (),
    into: Path | None = None,
    arch: Arch = "x64",
    out: Path | None = None,
    project: Path | None = None,
    key: SigningKey | None = None,
    with_clients: bool = True,
    progress: Progress | None = None,
    warn: Progress | None = None,
    measured: bool = False,
) -> tuple[DriverPackage, ...]:
    """The drivers of a run, and no others.

    All of them, and their clients, are copied first; the packages are about the copies.

    The user's files are only read. :func:`lab.toolchain.places.build_place` says where builds go.

    Args:
        paths: Each a ``driver.yaml``; a folder with some, or with folders that have some; a folder of ``.sys`` files; or a
            ``.sys`` file, which without a manifest must have the file name of a driver that is known, and replaces that one.
        beside: More of them, which those of ``paths`` replace or join: where a command line names drivers, the lab file's.
        names: More of them, by name, see :func:`lab.toolchain.known.known_components`.
        present: Names of drivers that the run has already: other drivers may need them, and they are not prepared again.
        into: Folder of the copies, the run's own; it gets a list of the packages as well, see :func:`read_packages`. None: a
            new temporary folder, which is removed at the end of this process.
        arch: Processor of the guest.
        out: Folder of all builds; None: the user's project, and the lab's own folder for its own components.
        project: The user's project; None finds it from the current folder.
        key: Signs the builds; None: the lab's own.
        with_clients: False: their clients are neither built nor copied.
        progress: Called with a line for each step.
        warn: Called with each of the compiler's warnings; None: they are steps.
        measured: Build the drivers under test so that they count their lines, and add the driver that collects the counters.

    Raises:
        ConfigError: A path is none of these, or two choices contradict each other.
        HostToolError: A build failed.
    """
    into = into or folder_of_process()
    home = project or user_project()
    known = known_components(home)
    programs = {name: part for name, part in known.items() if part.manifest.kind == "program"}
    chosen: dict[str, _Choice] = {}
    chosen_programs: dict[str, Component] = {}
    for group in (beside, paths):
        taken: dict[str, _Choice] = {}
        for path in group:
            for choice in _choices(path, known):
                if choice.component.manifest.kind == "program":
                    chosen_programs[choice.component.name] = choice.component
                    continue
                name = choice.component.name
                if name in taken:
                    raise _twice(choice, taken[name])
                taken[name] = choice
                chosen[name] = choice
    for name in names:
        if name not in known or known[name].manifest.kind != "driver":
            raise unknown_name(name, known, home)
        chosen.setdefault(name, _finished_or_built(known[name]))
    needs = _with_needs(chosen, known, present)
    if measured and chosen and COLLECTOR not in present:
        chosen[COLLECTOR], needs[COLLECTOR] = _Choice(lab_components()[COLLECTOR]), ()
    _refuse_clashes(chosen.values())

    signer = key or signing_key()
    copies = RunCopies(into)
    sources: dict[str, list[Path]] = {}

    def take(result: BuildResult) -> BuildResult:
        """Copy a build under the lock of the builds, so that the image and its symbols belong together."""
        stamp = read_stamp(result.path)
        sources[result.name] = [Path(name) for name in stamp.inputs.files] if stamp else []
        copy = copies.driver(result.name, result.path) if result.kind == "driver" else copies.client(result.path)
        if result.notes is not None:
            notes = copies.notes(result.name, result.notes)
            return replace(result, path=copy, notes=notes)
        return replace(result, path=copy)

    clients = {
        name: list(clients_of(choice.component, programs, chosen=chosen_programs)) if with_clients else []
        for name, choice in chosen.items()
    }
    built: dict[tuple[Path, str], BuildResult] = {}
    parts = [choice.component for choice in chosen.values() if not choice.image]
    parts += _programs(client for several in clients.values() for client in several)
    counted = [part.identity for part in parts if measured and part.manifest.kind == "driver" and part.manifest.under_test]
    places = {part.identity: build_place(part, arch, home, out, measured=part.identity in counted) for part in parts}
    for place in dict.fromkeys(places.values()):
        todo = [part for part in parts if places[part.identity] == place and not part.prebuilt]
        results = build_components(todo, arch, place, signer, progress=progress, warn=warn, take=take, measured=measured)
        built |= {part.identity: result for part, result in zip(todo, results, strict=True)}
    packages = tuple(
        replace(
            _package(choice, built, arch, copies, places, sources.get(name, ())),
            clients={client.name: _client_file(client, built, copies) for client in clients[name]},
            needs=needs[name],
            **_brought(choice.component, copies),
        )
        for name, choice in sorted(chosen.items())
    )
    write_packages(into, packages)
    return packages


def _with_needs(
    chosen: dict[str, _Choice], known: Mapping[str, Component], present: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Add the drivers that the chosen ones need, and so on; returns the needs of each by name."""
    needs: dict[str, tuple[str, ...]] = {}
    left = list(chosen)
    while left:
        name = left.pop(0)
        components = {other: choice.component for other, choice in chosen.items()}
        found = needed_by(components[name], components, known, present=present)
        needs[name] = tuple(found)
        for part in found.values():
            if part is not None and part.name not in chosen:
                chosen[part.name] = _finished_or_built(part)
                left.append(part.name)
    refuse_rings({name: choice.component for name, choice in chosen.items()}, needs)
    return needs


def _programs(clients: Iterable[Client]) -> list[Component]:
    """What is built of the clients, each once."""
    return list({client.program.identity: client.program for client in clients if client.program}.values())


class _Brought(TypedDict):
    registry: Path | None
    registry_spot: Spot
    files: tuple[PlacedFile, ...]
    inf: str


def _brought(component: Component, copies: RunCopies) -> _Brought:
    """The run's own copies of the files that a driver's manifest lists."""
    manifest, service = component.manifest, component.service
    registry = (
        copies.made(component.name, f"{service}.reg", reg_file(service, component.registry)) if component.registry else None
    )
    placed = []
    for number, file in enumerate(manifest.files):
        path = component.folder / file.path
        # A file with a path in the guest may share its name with others, and all of them are delivered in one folder.
        copy, sha256 = copies.beside(component.name, path, f"{component.name}.{number}.{file.name}" if file.to else "")
        spot = _spot(component, "files", number, *(["to"] if file.to else []))
        placed.append(PlacedFile(path=copy, sha256=sha256, to=file.to, spot=spot))
    if manifest.inf:
        copy, sha256 = copies.beside(component.name, component.folder / manifest.inf)
        placed.append(PlacedFile(path=copy, sha256=sha256, spot=_spot(component, "inf")))
    return {
        "registry": registry,
        "registry_spot": _spot(component, "registry"),
        "files": tuple(placed),
        "inf": Path(manifest.inf).name if manifest.inf else "",
    }


def _spot(component: Component, *key: str | int) -> Spot:
    return Spot(file=str(component.file), key=dotted(key), line=component.line(*key))


def named_drivers(paths: Sequence[Path], *, project: Path | None = None) -> tuple[tuple[str, ...], ...]:
    """For each of the user's paths, the names of the drivers under test that it means, see :func:`resolve_drivers`.

    Nothing is built. A path that means none of them, such as a folder of client programs, is left out.

    Raises:
        ConfigError: A path is not of a kind that is described there.
    """
    known = known_components(project)
    found = []
    for path in paths:
        manifests = (choice.component.manifest for choice in _choices(path, known))
        found.append(tuple(dict.fromkeys(one.name for one in manifests if one.kind == "driver" and one.under_test)))
    return tuple(names for names in found if names)


def _choices(path: Path, known: Mapping[str, Component]) -> list[_Choice]:
    """The components that one path of the user means."""
    if path.is_dir():
        if manifests_in(path):
            return [_finished_or_built(component) for component in load_folder(path)]
        images = sorted(item for item in path.iterdir() if item.suffix.lower() == ".sys")
        below = [folder for folder in sorted(path.iterdir()) if folder.is_dir() and manifests_in(folder)]
        if below and not images:
            components = [component for folder in below for component in load_folder(folder)]
            return [_finished_or_built(component) for component in components if component.manifest.under_test]
        if not images:
            raise ConfigError(
                f"there is neither a {MANIFEST_NAME} nor a .sys file in it",
                file=str(path),
                hint="`lab init` writes a manifest; docs/drivers.md lists its keys",
            )
        found = [_replacement(image, known) for image in images]
        # A folder of builds may also hold the lab's own guest programs, which are part of the guest's image.
        return [choice for choice in found if choice.component.manifest.under_test]
    if not path.exists():
        raise ConfigError("there is no such file or folder", file=str(path))
    if path.suffix.lower() == ".sys":
        return [_replacement(path, known)]
    if path.name.endswith(MANIFEST_NAME):
        return [_finished_or_built(load_component(path))]
    raise ConfigError(
        f"is neither a .sys file, nor a {MANIFEST_NAME}, nor a folder",
        file=str(path),
        hint=f"name its folder, or its manifest, whose name ends in {MANIFEST_NAME}",
    )


def _twice(choice: _Choice, other: _Choice) -> ConfigError:
    """Two of the user's choices are one driver."""
    files = [one.image or one.component.file for one in (choice, other)]
    said = f"{files[0]} and {files[1]} both have the driver name {choice.component.name}"
    if choice.image or choice.component.file == other.component.file:
        return ConfigError(said, hint="use only one of them")
    return choice.component.wrong(said, "name", hint="give one of them another name, or leave one out")


def _finished_or_built(component: Component) -> _Choice:
    return _Choice(component, component.prebuilt)


def _replacement(image: Path, known: Mapping[str, Component]) -> _Choice:
    drivers = {part.image_name.lower(): part for part in known.values() if part.manifest.kind == "driver"}
    component = drivers.get(image.name.lower())
    if component is None:
        raise ConfigError(
            f"no known driver has an image with the name {image.name}, so the lab does not know how to load it",
            file=str(image),
            hint=f"put a file {MANIFEST_NAME} beside it and use that file instead:\n"
            f"    name: {image.stem}\n    image: {image.name}\n    service: {image.stem}\n"
            f"    links: ['\\\\.\\YourDevice']\n    clients: [drvprobe]\n"
            f"  (known images: {', '.join(sorted(drivers))})",
        )
    return _Choice(component, image)


def _refuse_clashes(choices: Iterable[_Choice]) -> None:
    """Two drivers with one service or one file name would overwrite each other in the guest."""
    services: dict[str, Component] = {}
    images: dict[str, Component] = {}
    for choice in choices:
        component = choice.component
        image_name = (choice.image or Path(component.image_name)).name
        for key, value, seen in (("service", component.service, services), ("image", image_name, images)):
            other = seen.setdefault(value.lower(), component)
            if other is not component:
                raise component.wrong(
                    f"{value} is also the {key} of the driver {other.name} ({other.file})",
                    key,
                    hint=f"rename it; to replace that driver, use its name: {other.name}",
                )


def _client_file(client: Client, built: Mapping[tuple[Path, str], BuildResult], copies: RunCopies) -> Path:
    finished = client.file or (client.program.prebuilt if client.program else None)
    if finished is not None:
        return copies.client(finished)
    assert client.program is not None
    return built[client.program.identity].path


def _package(
    choice: _Choice,
    built: Mapping[tuple[Path, str], BuildResult],
    arch: Arch,
    copies: RunCopies,
    origins: Mapping[tuple[Path, str], Path],
    sources: Sequence[Path],
) -> DriverPackage:
    component, manifest = choice.component, choice.component.manifest
    if choice.image:
        origin = choice.image.absolute()
        folder = component.folder if choice.image == component.prebuilt else origin.parent
        image = copies.driver(component.name, origin)
    else:
        folder = component.folder
        image, origin = built[component.identity].path, origins[component.identity] / component.image_name
    facts = _loadable(image, origin, arch)
    return DriverPackage(
        name=component.name,
        service=component.service,
        image=image,
        sha256=sha256_of(image),
        arch=arch,
        load_order_group=manifest.load_order_group,
        links=manifest.links,
        clients={},
        encoding=manifest.encoding,
        symbols=copied_symbols(image),
        notes=None if choice.image else built[component.identity].notes,
        collects=component.name == COLLECTOR and not manifest.under_test,
        origin=origin,
        provenance=_provenance(
            facts, folder, None if choice.image else sources, "" if choice.image else built[component.identity].compiler
        ),
    )


def _provenance(facts: ImageFacts, folder: Path, sources: Sequence[Path] | None, compiler: str) -> Provenance:
    """Without ``sources`` it is a finished image: what it was built from is unknown."""
    if sources is None:
        commit, dirty = commit_around(folder)
    else:
        commit, dirty = commit_of(folder, [folder / source for source in sources])
    return Provenance(
        size=facts.size,
        file_version=file_version(facts.path),
        signer=facts.signatures[0].signer if facts.signatures else "",
        commit=commit,
        dirty=dirty,
        compiler=compiler,
    )


def _loadable(image: Path, origin: Path, arch: Arch) -> ImageFacts:
    """Check what the kernel requires of a finished driver; `lab driver check` is stricter. Errors name the user's file."""
    try:
        facts = pe.inspect(image)
    except ConfigError as error:
        raise ConfigError(error.message.replace(str(image), str(origin)), hint=error.hint) from None
    if not facts.native:
        raise ConfigError("is not a driver: its subsystem is not native", file=str(origin))
    if facts.arch != arch:
        raise ConfigError(
            f"is for {facts.arch or 'an unknown processor'}, and the guest is {arch}",
            file=str(origin),
            hint=f"build it for {arch}",
        )
    return facts
