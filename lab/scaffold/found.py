"""Drivers and programs that `lab init` has found in a repository."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundProgram:
    """A program that a project file describes and mingw-w64 should be able to build.

    Attributes:
        name: What tests call it.
        origin: The project file.
        sources: Its sources.
        include: Folders of headers.
        defines: Preprocessor definitions.
        libraries: Import libraries by name.
    """

    name: str
    origin: Path
    sources: tuple[Path, ...]
    include: tuple[Path, ...] = ()
    defines: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()

    def keys(self, folder: Path) -> dict[str, str | tuple[str, ...]]:
        """The keys of a client in a manifest of ``folder``; those without a value are left out."""
        values: dict[str, str | tuple[str, ...]] = {
            "name": self.name,
            "sources": tuple(_from(folder, path) for path in self.sources),
            "include": tuple(_from(folder, path) for path in self.include),
            "defines": self.defines,
            "libraries": self.libraries,
        }
        return {key: value for key, value in values.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDriver:
    """One driver.

    Attributes:
        name: Its name in tests.
        folder: Where its manifest is, or belongs.
        image: File name of what is built, or path of the finished file from ``folder``.
        sources: From ``folder``; none: it is a finished file.
        include: Folders of headers, from ``folder``.
        defines: Preprocessor definitions.
        service: Of its INF file; empty where it is the name.
        links: How programs open it.
        unload: It can be unloaded, as far as the sources say.
        kinds: Frameworks that only a Windows guest has.
        origin: The file in which it was found.
        manifest: Its existing manifest.
        alone: It is the only driver of its folder.
        clients: Programs of the repository that seem to be for it.
    """

    name: str
    folder: Path
    image: str
    sources: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    defines: tuple[str, ...] = ()
    service: str = ""
    links: tuple[str, ...] = ()
    unload: bool = True
    kinds: tuple[str, ...] = ()
    origin: Path
    manifest: Path | None = None
    alone: bool = True
    clients: tuple[FoundProgram, ...] = ()


def _from(folder: Path, path: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
