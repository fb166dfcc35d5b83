"""What is in a repository: drivers by their sources or as finished files, manifests, and which CI it uses."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from lab.errors import ConfigError
from lab.scaffold.found import FoundDriver
from lab.scaffold.names import driver_name, told_apart
from lab.scaffold.programs import assigned, programs_of
from lab.scaffold.sources import SUFFIXES, Inf, Project, SourceFacts, inf_facts, project_facts, read_any, source_facts
from lab.toolchain import pe
from lab.toolchain.manifest import load_component, manifests_in

_Facts = TypeVar("_Facts")
_DEPTH = 6
_SKIPPED = frozenset({"node_modules", "site-packages", "venv", "__pycache__", "out"})
#: Stems that are not the name of a driver.
_COMMON = frozenset({"driver", "entry", "driverentry", "main", "init", "sys", "device", "src", "drv"})
#: Imports that only a Windows guest resolves, and what they are.
_WINDOWS_ONLY = {"wdfldr.sys": "KMDF", "ndis.sys": "NDIS", "fltmgr.sys": "minifilter", "storport.sys": "StorPort"}


@dataclass(frozen=True, slots=True)
class Sight:
    """What was found.

    Attributes:
        root: The folder that was looked at.
        drivers: What can be tested.
        unbuildable: Sources with DriverEntry that the lab's compiler cannot build and that have no finished file, with the
            frameworks that they need.
        ci: ``github``, ``gitlab``, ``azure`` or ``jenkins``; empty when none is seen.
        left_out: Drivers that cannot be tested together with the others, and why.
    """

    root: Path
    drivers: tuple[FoundDriver, ...]
    unbuildable: Mapping[Path, tuple[str, ...]] = field(default_factory=dict)
    ci: str = ""
    left_out: Mapping[Path, str] = field(default_factory=dict)


def look(root: Path) -> Sight:
    """Look at a repository; nothing is changed.

    Args:
        root: Its folder.
    """
    folders = dict(_walk(root, _DEPTH))
    projects = _read(folders, ".vcxproj", project_facts)
    infs = {file: facts for file, facts in _read(folders, ".inf", inf_facts).items() if facts.service or facts.image}
    finished = [folder / name for folder, files in folders.items() for name in files if name.lower().endswith(".sys")]
    drivers: list[FoundDriver] = []
    unbuildable: dict[Path, tuple[str, ...]] = {}
    for folder, files in folders.items():
        known = [driver for file in manifests_in(folder) for driver in _of_manifest(file)]
        if known:
            drivers += known
            continue
        facts = {folder / name: source_facts(read_any(folder / name)) for name in files if name.lower().endswith(SUFFIXES)}
        entries = [file for file, one in facts.items() if one.entry]
        for entry in entries:
            driver = _of_sources(entry, facts, projects, infs, alone=len(entries) == 1)
            if driver.kinds:
                built = _newest(path for path in finished if path.stem.lower() == Path(driver.image).stem.lower())
                if built is None:
                    unbuildable[entry] = driver.kinds
                    continue
                driver = replace(driver, sources=(), include=(), defines=(), image=_from(folder, built))
            drivers.append(driver)
    if not drivers and not unbuildable:
        stems = {path.stem.lower(): path for path in sorted(finished, key=_changed)}
        drivers = [driver for path in stems.values() for driver in _of_finished(path, infs)]
    apart, left_out = told_apart(drivers, root)
    programs, others = programs_of(projects, _described(folders), [driver.name for driver in apart])
    clients = assigned(programs, apart)
    apart = tuple(replace(driver, clients=clients.get(driver, ())) for driver in apart)
    return Sight(root, apart, unbuildable, _ci(root), {**left_out, **(others if apart else {})})


def _described(folders: Mapping[Path, list[str]]) -> list[str]:
    """Names of the programs that have a manifest, in a file of their own or among a driver's clients."""
    names = ["drvprobe"]
    for file in (file for folder in folders for file in manifests_in(folder)):
        try:
            component = load_component(file)
        except ConfigError:
            continue  # the command that reads it reports the error
        names += [part.name.lower() for part in (component, *component.programs) if part.manifest.kind == "program"]
    return names


def _of_manifest(file: Path) -> list[FoundDriver]:
    try:
        component = load_component(file)
    except ConfigError:
        return []  # the command that reads it reports the error
    if component.manifest.kind != "driver" or not component.manifest.under_test:
        return []
    return [
        FoundDriver(
            name=component.name,
            folder=file.parent,
            image=component.manifest.image,
            links=component.manifest.links,
            origin=file,
            manifest=file,
        )
    ]


def _of_sources(
    entry: Path,
    facts: Mapping[Path, SourceFacts],
    projects: Mapping[Path, Project],
    infs: Mapping[Path, Inf],
    *,
    alone: bool,
) -> FoundDriver:
    folder = entry.parent
    project_file, project = _project_of(entry, projects)
    if project is not None and project_file is not None:
        sources = tuple(_from(folder, project_file.parent / name) for name in project.sources)
        include = tuple(_from(folder, project_file.parent / name) for name in project.include)
        stem = project.target or project_file.stem
    else:
        others = [file for file, one in facts.items() if not one.program and not one.entry] if alone else []
        sources = (entry.name, *(file.name for file in others))
        include = ()
        stem = entry.stem if entry.stem.lower() not in _COMMON else folder.name
    said = _with_headers([folder / name for name in sources], [folder / name for name in include])
    inf = next(
        (one for file, one in infs.items() if _near(file, folder) and one.image.lower() in ("", f"{stem}.sys".lower())), None
    )
    return FoundDriver(
        name=driver_name(stem),
        folder=folder,
        image=f"{driver_name(stem)}.sys",
        sources=sources,
        include=tuple(name for name in include if (folder / name).is_dir()),
        defines=project.defines if project else (),
        service=inf.service if inf else "",
        links=tuple(dict.fromkeys(link for one in said for link in one.links)),
        unload=any(one.unload for one in said),
        kinds=tuple(dict.fromkeys(kind for one in said for kind in one.frameworks)),
        origin=entry,
        alone=alone,
    )


def _with_headers(sources: Iterable[Path], include: Sequence[Path]) -> list[SourceFacts]:
    """Facts from sources and the headers that they include by name: a shared header often has the device's name."""
    found: dict[Path, SourceFacts] = {}
    todo = [source.resolve() for source in sources]
    while todo:
        file = todo.pop(0)
        if file in found:
            continue
        facts = found[file] = source_facts(read_any(file))
        beside = ((place / name).resolve() for name in facts.headers for place in (file.parent, *include))
        todo += [header for header in dict.fromkeys(beside) if header.is_file()]
    return list(found.values())


def _of_finished(path: Path, infs: Mapping[Path, Inf]) -> Iterator[FoundDriver]:
    try:
        facts = pe.inspect(path)
    except ConfigError:
        return
    if not facts.native or facts.arch != "x64":
        return
    inf = next((one for one in infs.values() if one.image.lower() == path.name.lower()), None)
    kinds = tuple(word for module, word in _WINDOWS_ONLY.items() if module in {name.lower() for name in facts.imports})
    yield FoundDriver(
        name=driver_name(path.stem),
        folder=path.parent,
        image=path.name,
        service=inf.service if inf else "",
        kinds=kinds,
        origin=path,
    )


def _project_of(entry: Path, projects: Mapping[Path, Project]) -> tuple[Path | None, Project | None]:
    """The project file that compiles a source, if there is one."""
    for file, project in projects.items():
        compiled = {(file.parent / name).resolve() for name in project.sources}
        if entry.resolve() in compiled and all(path.is_file() for path in compiled):
            return file, project
    return None, None


def _ci(root: Path) -> str:
    places = {
        "github": (".github",),
        "gitlab": (".gitlab-ci.yml", ".gitlab"),
        "azure": ("azure-pipelines.yml", ".azure-pipelines"),
        "jenkins": ("Jenkinsfile",),
    }
    for name, paths in places.items():
        if any((root / path).exists() for path in paths):
            return name
    remotes = read_any(root / ".git" / "config").lower()
    return next((name for name in ("github", "gitlab") if f"{name}." in remotes), "")


def _walk(folder: Path, depth: int) -> Iterator[tuple[Path, list[str]]]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    yield folder, [entry.name for entry in found if entry.is_file()]
    for entry in found if depth else ():
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".") and entry.name not in _SKIPPED:
            yield from _walk(folder / entry.name, depth - 1)


def _read(folders: Mapping[Path, list[str]], suffix: str, read: Callable[[str], _Facts | None]) -> dict[Path, _Facts]:
    """Facts from the files of one kind, without empty ones."""
    files = (folder / name for folder, names in folders.items() for name in names if name.lower().endswith(suffix))
    found = ((file, read(read_any(file))) for file in files)
    return {file: facts for file, facts in found if facts is not None}


def _near(file: Path, folder: Path) -> bool:
    """Whether an INF file is in the folder of the sources, above it or beside it."""
    return folder.is_relative_to(file.parent) or file.parent.parent == folder.parent or file.parent.is_relative_to(folder)


def _from(folder: Path, path: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _newest(paths: Iterable[Path]) -> Path | None:
    return max(paths, key=_changed, default=None)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
