"""A driver that is ready for a guest, and the list of them in a run's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from lab.toolchain.files import replace_with
from lab.toolchain.flags import Arch
from lab.toolchain.provenance import Provenance

#: Beside the copies, written when all of them are there.
PACKAGES_FILE = "packages.json"
#: Subfolder for copies of drivers that only a marker names.
MARKED = "marked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A place in a file, as :class:`~lab.errors.ConfigError` shows it; empty where it is unknown."""

    file: str = ""
    key: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedFile:
    """A file that a driver's manifest lists.

    Attributes:
        path: The run's own copy.
        sha256: Of the copy, lower-case hexadecimal.
        to: Windows path in the guest; empty: beside the driver.
        spot: Its entry in the manifest.
    """

    path: Path
    sha256: str
    to: str = ""
    spot: Spot = field(default_factory=Spot)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverPackage:
    """A driver that is ready to be copied into a guest, loaded and used.

    Attributes:
        name: What tests call it.
        service: Name of its service in the guest.
        image: The run's own copy of the ``.sys`` file.
        sha256: Of the image, lower-case hexadecimal.
        arch: Processor of the image.
        load_order_group: Load-order group of the service.
        links: How programs open its devices.
        clients: Program name -> the run's own copy of the file.
        encoding: Of the text that it prints.
        symbols: What a debugger or a reader needs to understand addresses in it: an image with symbols, a PDB, a linker map.
        registry: File for ``reg import`` with the values below its service's key; None when it has none.
        registry_spot: The values in the manifest.
        files: Files beside it, or elsewhere, in the guest.
        needs: Names of drivers that are loaded before it and unloaded after it.
        inf: Name of the INF, one of ``files``, by which its package is installed; empty for a plain service.
        notes: If it counts its lines: the run's own copy of the compiler's notes, see :mod:`lab.toolchain.instrument`.
        collects: It is no driver of the run, but collects the counters of those.
        origin: The file that ``image`` is a copy of: the build, or the user's own file. None where that is unknown.
        provenance: Where it comes from.
    """

    name: str
    service: str
    image: Path
    sha256: str
    arch: Arch
    load_order_group: str
    links: tuple[str, ...]
    clients: Mapping[str, Path]
    encoding: str
    symbols: tuple[Path, ...] = ()
    registry: Path | None = None
    registry_spot: Spot = field(default_factory=Spot)
    files: tuple[PlacedFile, ...] = ()
    needs: tuple[str, ...] = ()
    inf: str = ""
    notes: Path | None = None
    collects: bool = False
    origin: Path | None = None
    provenance: Provenance = field(default_factory=Provenance)

    @property
    def path(self) -> Path:
        """The file as the user knows it."""
        return self.origin or self.image


_PACKAGES = TypeAdapter(tuple[DriverPackage, ...])


def read_packages(folder: Path) -> tuple[DriverPackage, ...] | None:
    """What :func:`resolve_drivers` has put into a folder; None when it has not run, or was interrupted."""
    try:
        return _PACKAGES.validate_python(json.loads((folder / PACKAGES_FILE).read_bytes()))
    except FileNotFoundError:
        return None


def write_packages(folder: Path, packages: tuple[DriverPackage, ...]) -> None:
    """Write the packages of a run, when all of them are there."""
    folder.mkdir(parents=True, exist_ok=True)
    with replace_with(folder / PACKAGES_FILE) as temporary:
        # json writes the bytes of a path that are no UTF-8 as escapes; pydantic's own JSON refuses them.
        temporary.write_text(json.dumps(_PACKAGES.dump_python(packages), indent=1, default=str), encoding="ascii")
