"""Builds drivers that count how often each line runs: options of the compiler, and its notes for readers.

The counters are GCC's (``-fprofile-arcs -ftest-coverage``), updated atomically, because a driver runs on several processors at
once. ``driver/coverage`` has the code that is linked in, and the driver that collects the counters.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.host.assets import data_root
from lab.toolchain.clang import Clang
from lab.toolchain.files import replace_with
from lab.toolchain.flags import Arch
from lab.toolchain.manifest import Component

#: The driver that collects the counters in a guest.
COLLECTOR = "lab-coverage"
#: Room for a driver's name in the records of its counters, see driver/coverage/labcov.h.
LONGEST_NAME = 63
#: Subfolder of a folder of builds: a measured driver does not take the place of the plain one.
MEASURED = "coverage"
#: What the compiler's names of counters begin with, instead of the folder of a checkout.
_PREFIX = "lab"
_META = "notes.json"
#: Folder of the sources in there.
_TEXTS = "sources/"
#: A zip file knows no earlier time; a fixed one makes equal notes equal files.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_GCOV: dict[Arch, str] = {"x64": "x86_64-w64-mingw32-gcov", "x86": "i686-w64-mingw32-gcov"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What a reader of counters needs of the build: the compiler's notes, and where the sources are.

    Attributes:
        driver: Name of the driver.
        gcov: The program that belongs to the compiler.
        folder: The manifest's folder: relative names of sources in the notes begin there.
        files: Name of each note file → its content: ``0.gcno`` is that of the first source.
        sources: File of the user, absolute and without symbolic links → SHA-256 at the build.
        names: File as the compiler named it, absolute, without ``..`` → the same file in ``sources``.
        texts: File in ``sources`` → its content at the build: it may be another one, or gone, when counters are read.
    """

    driver: str
    gcov: str
    folder: Path
    files: Mapping[str, bytes]
    sources: Mapping[str, str]
    names: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, bytes] = field(default_factory=dict)

    def source(self, name: str) -> Path:
        """The file that gcov names so: relative to the folder, or absolute."""
        path = os.path.normpath(self.folder / name)
        return Path(self.names[path]) if path in self.names else Path(path).resolve()


def runtime_folder() -> Path:
    """The folder of the code that is linked in."""
    return data_root() / "driver" / "coverage"


def why_not_measured(component: Component, clang: Clang | None) -> str:
    """Why the lines of a component are not counted; empty when they are."""
    if component.manifest.kind != "driver":
        return "it is a program"
    if component.prebuilt:
        return "it is a finished image"
    if not component.manifest.under_test:
        return "it is not under test"
    return f"{clang.version} compiles it, and the counters are GCC's" if clang else ""


def counter_flags(number: int, folder: Path, work: Path) -> list[str]:
    """Options for one source.

    Args:
        number: Of the source in the manifest.
        folder: The manifest's folder, in which the compiler runs.
        work: Where the notes go.
    """
    return [
        # The optimizer joins lines: it leaves no code of its own for an early `return status;`, for example.
        *("-O0", "-fprofile-arcs", "-ftest-coverage", "-fprofile-update=atomic"),
        # A pointer to the counters of each source in the place of a constructor, which no kernel would call.
        "-fprofile-info-section=.rdata$labM",
        # The name of the counters' file is in the image: without these it has the path of the scratch folder, and no two builds
        # are equal.
        *("-dumpdir", f"{_PREFIX}/", "-dumpbase", f"{number}.c", "-fprofile-dir=.", f"-fprofile-prefix-path={folder}"),
        *(f"-frandom-seed={number}", f"-fprofile-note={work / f'{number}.gcno'}"),
    ]


def note_of(counters: str) -> str:
    """The note file that belongs to the file of counters with a name as the driver has it: ``./lab#0.c.gcda`` → ``0.gcno``."""
    name = counters.replace("\\", "/").rpartition("/")[2].rpartition("#")[2]
    return f"{name.split('.', 1)[0]}.gcno"


def notes_file(image: Path) -> Path:
    """The notes of a driver that was built here."""
    return image.parent / ".symbols" / f"{image.stem}.notes.zip"


def write_notes(
    target: Path, component: Component, arch: Arch, work: Path, sources: Mapping[str, str], own: Sequence[str]
) -> None:
    """Pack the compiler's notes, and the sources that they are about.

    Args:
        target: The file to write.
        component: The driver.
        arch: What it was built for.
        work: Folder of the notes.
        sources: File as the compiler named it → SHA-256.
        own: Those of the user, relative to the manifest's folder.
    """
    folder = component.folder
    named = {os.path.normpath(folder / name): str((folder / name).resolve()) for name in own if name in sources}
    texts = {file: f"{_TEXTS}{number}" for number, file in enumerate(dict.fromkeys(named.values()))}
    meta = {
        "driver": component.name,
        "gcov": _GCOV[arch],
        "folder": str(folder),
        "sources": {str((folder / name).resolve()): sources[name] for name in own if name in sources},
        "names": named,
        "texts": texts,
    }
    with replace_with(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in {
            _META: json.dumps(meta, indent=1).encode("ascii"),
            **{file.name: file.read_bytes() for file in sorted(work.glob("*.gcno"))},
            **{name: Path(file).read_bytes() for file, name in texts.items()},
        }.items():
            packed.writestr(zipfile.ZipInfo(name, _EPOCH), data)


def read_notes(file: Path) -> Notes:
    """Read what :func:`write_notes` has packed."""
    with zipfile.ZipFile(file) as packed:
        meta = json.loads(packed.read(_META))
        notes = {name: packed.read(name) for name in packed.namelist() if name.endswith(".gcno")}
        texts = {file: packed.read(name) for file, name in meta["texts"].items()}
    return Notes(
        driver=meta["driver"],
        gcov=meta["gcov"],
        folder=Path(meta["folder"]),
        files=notes,
        sources=dict(meta["sources"]),
        names=dict(meta["names"]),
        texts=texts,
    )
