"""Programs of a repository that its project files describe, as clients of its drivers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lab.scaffold.found import FoundDriver, FoundProgram
from lab.scaffold.names import driver_name
from lab.scaffold.sources import Project, read_any

#: `wmain` and `WinMain` are entry points that mingw-w64 does not link by default; `_tmain` is a macro for one of them.
_MAIN = re.compile(r"\bmain\s*\([^;{}]*\)\s*\{")
#: Headers of Microsoft's own libraries, without which such a program does not compile.
_MICROSOFT = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"](afx\w*|atl\w*|winrt/[^>"]*|wil/[^>"]*)(?:\.h)?[>"]', re.MULTILINE)


def programs_of(
    projects: Mapping[Path, Project], taken: Iterable[str] = (), drivers: Iterable[str] = ()
) -> tuple[list[FoundProgram], dict[Path, str]]:
    """The programs of project files, and the project files that are left out, with the reason.

    A program with the name of a driver (``event.exe`` beside ``event.sys``) is called ``NAME-client``: drivers and programs
    share their names in manifests.

    Args:
        projects: Facts from them.
        taken: Names of programs that manifests describe already.
        drivers: Names of the drivers.
    """
    found: dict[str, FoundProgram] = {}
    left_out: dict[Path, str] = {}
    names = set(taken)
    of_drivers = {name.lower() for name in drivers}
    for file, project in projects.items():
        if not project.program:
            continue
        name = driver_name(project.target or file.stem)
        program = FoundProgram(
            name=f"{name}-client" if name.lower() in of_drivers else name,
            origin=file,
            sources=tuple(file.parent / name for name in project.sources),
            include=tuple(path for name in project.include if (path := file.parent / name).is_dir()),
            defines=project.defines,
            libraries=project.libraries,
        )
        if program.name.lower() in names:
            continue
        if why := _why_not(program):
            left_out[file] = f"a program, but not a client: {why}"
            continue
        names.add(program.name.lower())
        found[program.name] = program
    return list(found.values()), left_out


def assigned(programs: Sequence[FoundProgram], drivers: Sequence[FoundDriver]) -> dict[FoundDriver, tuple[FoundProgram, ...]]:
    """Each program as a client of the driver whose folder is nearest to it; the first one of several."""
    clients: dict[FoundDriver, tuple[FoundProgram, ...]] = {}
    for program in programs:
        nearest = min(drivers, key=lambda driver: _steps(driver.folder, program.origin.parent), default=None)
        if nearest is not None:
            clients[nearest] = (*clients.get(nearest, ()), program)
    return clients


def _why_not(program: FoundProgram) -> str:
    """Why the lab's compiler would not build it; empty when nothing speaks against it."""
    missing = [path.name for path in program.sources if not path.is_file()]
    if missing or not program.sources:
        return f"there is no {missing[0]}" if missing else "it has no sources in C or C++"
    texts = [read_any(path) for path in program.sources]
    header = next((match[1] for text in texts if (match := _MICROSOFT.search(text))), "")
    if header:
        return f"it includes {header}, which mingw-w64 does not have"
    if not any(_MAIN.search(text) for text in texts):
        return "it has no main(), at which programs of the lab's compiler start; add one, and name the program under `clients`"
    return ""


def _steps(one: Path, other: Path) -> int:
    """Folders between two folders."""
    return len(Path(os.path.relpath(one, other)).parts)
