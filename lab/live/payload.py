"""What is copied into every guest of a run: drivers and the clients that exercise them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from lab.errors import ConfigError, WrongBinary
from lab.guest.probe import PROBE_CLIENT
from lab.toolchain.files import sha256_of
from lab.toolchain.package import DriverPackage, PlacedFile
from lab.toolchain.product import load_order

#: Where the payload lies in the guest.
GUEST_FOLDER = "C:\\lab\\run"


def guest_path(file: Path) -> str:
    """Windows path of a payload file in a guest."""
    return f"{GUEST_FOLDER}\\{file.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """Drivers by name, client programs by name, and the driver that collects counters if the drivers count their lines."""

    drivers: Mapping[str, DriverPackage] = field(default_factory=dict)
    clients: Mapping[str, Path] = field(default_factory=dict)
    collector: DriverPackage | None = None

    @classmethod
    def of(cls, packages: Iterable[DriverPackage]) -> Self:
        """The drivers with all of their clients.

        Raises:
            ConfigError: Two drivers have one name, or different clients of one name, or bring different files to one place.
        """
        drivers: dict[str, DriverPackage] = {}
        several = list(packages)
        collector = next((package for package in several if package.collects), None)
        for package in several:
            if package.collects:
                continue
            other = drivers.setdefault(package.name, package)
            if other.sha256 != package.sha256:
                raise ConfigError(
                    f"{other.path} and {package.path} both have the driver name {package.name}", hint="use only one of them"
                )
        clients: dict[str, Path] = {}
        for package in (*drivers.values(), *([collector] if collector else [])):
            for name, file in package.clients.items():
                _refuse_another(file, clients.setdefault(name, file))
        _refuse_one_place(drivers.values(), clients.values())
        return cls(drivers=drivers, clients=clients, collector=collector)

    @property
    def packages(self) -> tuple[DriverPackage, ...]:
        """All that is copied into a guest and gets a service."""
        return (*self.drivers.values(), *([self.collector] if self.collector else []))

    def driver(self, name: str) -> DriverPackage:
        """The driver of this name.

        Raises:
            ConfigError: There is none in this run.
        """
        if name not in self.drivers:
            known = ", ".join(sorted(self.drivers)) or "none"
            raise ConfigError(f"no driver {name!r} in this run (available: {known})", hint="give its folder with --lab-driver")
        return self.drivers[name]

    def client_path(self, name: str) -> str:
        """Windows path of a client in a guest.

        Raises:
            ConfigError: There is no such client in this run.
        """
        if name not in self.clients:
            known = ", ".join(sorted(self.clients)) or "none"
            raise ConfigError(f"no client {name!r} in this run (available: {known})")
        return guest_path(self.clients[name])

    @property
    def probe(self) -> str:
        """Windows path of drvprobe in a guest; empty if it is no client of this run."""
        return self.client_path(PROBE_CLIENT) if PROBE_CLIENT in self.clients else ""

    def encoding_of(self, names: Iterable[str]) -> str | None:
        """The print encoding of some drivers of the run; None when they have several, or when there are none."""
        found = {self.drivers[name].encoding for name in names if name in self.drivers}
        return found.pop() if len(found) == 1 else None

    def encoding(self, fallback: str) -> str:
        """The drivers' print encoding when all agree, else ``fallback``: for what is printed outside of tests."""
        found = {driver.encoding for driver in self.drivers.values()}
        return found.pop() if len(found) == 1 else fallback

    def load_order(self, names: Iterable[str]) -> tuple[str, ...]:
        """Some of the drivers and all that they need, each after those that it needs: the order in which they are loaded."""
        return load_order(tuple(names), {name: driver.needs for name, driver in self.drivers.items()})

    @property
    def image_names(self) -> tuple[str, ...]:
        """File names of the drivers under test, with those that they need."""
        return tuple(driver.image.name for driver in self.drivers.values())

    @property
    def placed(self) -> list[PlacedFile]:
        """Files that are copied from the folder of the run to a path of their own, each path once."""
        placed = [file for driver in self.drivers.values() for file in driver.files if file.to]
        return list({file.to.lower(): file for file in placed}.values())

    @property
    def registries(self) -> list[Path]:
        """Files for ``reg import``."""
        return [driver.registry for driver in self.drivers.values() if driver.registry]

    def files(self) -> list[Path]:
        """All files to copy into the folder of the run.

        Raises:
            ConfigError: Two of them have one name, and are not copies of one file.
        """
        brought = [file.path for driver in self.drivers.values() for file in driver.files]
        images = [driver.image for driver in self.packages]
        files = [*images, *self.clients.values(), *brought, *self.registries]
        by_name: dict[str, Path] = {}
        for file in files:
            _refuse_another(file, by_name.setdefault(file.name.lower(), file))
        return list(by_name.values())

    def sums(self) -> dict[str, str]:
        """File name, or full Windows path, → SHA-256 of all files: what every guest of the run must have."""
        sums = {file.name: sha256_of(file) for file in (*self.clients.values(), *self.registries)}
        for driver in self.packages:
            sums[driver.image.name] = driver.sha256
            for file in driver.files:
                sums |= {name: file.sha256 for name in (file.path.name, file.to) if name}
        return sums

    def stage(self, folder: Path) -> Path:
        """Gather all files in one new folder, so that one copy brings them into a guest.

        Raises:
            WrongBinary: A driver has changed since it was hashed.
        """
        folder.mkdir(parents=True)
        staged: dict[str, Path] = {}
        for file in self.files():
            staged[file.name.lower()] = folder / file.name
            shutil.copyfile(file, folder / file.name)
        hashed = [(driver.image, driver.sha256) for driver in self.packages]
        hashed += [(file.path, file.sha256) for driver in self.drivers.values() for file in driver.files]
        for path, sha256 in hashed:
            found = sha256_of(staged[path.name.lower()])
            if found != sha256:
                raise WrongBinary(
                    f"{path} has SHA-256 {found} now, and had {sha256} when the run began",
                    hint="only the run may write to its folder; run again",
                )
        return folder


def _refuse_one_place(drivers: Iterable[DriverPackage], clients: Iterable[Path]) -> None:
    """Refuse two files with the same path in the guest, unless both are copies of one file."""
    taken = {guest_path(file).lower(): (str(file), sha256_of(file)) for file in clients if file.exists()}
    taken |= {guest_path(driver.image).lower(): (str(driver.path), driver.sha256) for driver in drivers}
    for driver in drivers:
        for file in driver.files:
            said = f"{file.spot.file}:{file.spot.line}" if file.spot.file else str(file.path)
            for place in filter(None, (guest_path(file.path), file.to)):
                other, sha256 = taken.setdefault(place.lower(), (said, file.sha256))
                if sha256 != file.sha256:
                    raise ConfigError(
                        f"{place} in the guest is also the place of another file: {other}",
                        file=file.spot.file,
                        key=file.spot.key,
                        line=file.spot.line,
                        hint="rename one of them, or give one another place with `to`",
                    )


def _refuse_another(file: Path, other: Path) -> None:
    """Two calls of `resolve_drivers` each copy the lab's own clients: equal content is no conflict."""
    if other != file and sha256_of(other) != sha256_of(file):
        raise ConfigError(f"{file} and {other} have the same name and would overwrite each other in the guest")
