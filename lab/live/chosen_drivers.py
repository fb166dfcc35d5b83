"""The drivers that a command puts into its guests: chosen by users, checked early, built once the image is known.

No other module makes packages of drivers for guests. It belongs to this package: builds depend on the guest (its image names
the processor, and may have to be built first), which lab.toolchain below does not know; the code that starts guests, from `lab
run` to a worker of pytest, is above.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from lab.config.model import SessionSettings
from lab.errors import ConfigError, NoDriver
from lab.image.recipes import builder_of
from lab.toolchain.compile import Arch
from lab.toolchain.known import known_components
from lab.toolchain.package import MARKED
from lab.toolchain.select import DriverPackage, named_drivers, read_packages, resolve_drivers

#: What most images have. Whether a driver compiles rarely depends on it.
_USUAL: Arch = "x64"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenDrivers:
    """Drivers as users name them; nothing has been read or built yet.

    Attributes:
        paths: Folders, manifests or ``.sys`` files, see :func:`lab.toolchain.select.resolve_drivers`.
        beside: Those of the lab file, where ``paths`` come from elsewhere: ``paths`` replace them or join them.
        names: More of them, by name.
        project: The user's project; None finds it from the current folder.
        measured: They count their lines.
        clients: Their clients belong to them; False: they are left out, and need not build.
    """

    paths: tuple[Path, ...] = ()
    beside: tuple[Path, ...] = ()
    names: tuple[str, ...] = ()
    project: Path | None = None
    measured: bool = False
    clients: bool = True

    @classmethod
    def of(cls, values: SessionSettings, *, beside: Sequence[str], project: Path, names: Collection[str] = ()) -> ChosenDrivers:
        """The drivers of some settings.

        Args:
            values: The settings in force.
            beside: See :attr:`lab.config.settings.Settings.beside`.
            project: The user's project.
            names: Drivers that a command loads. Those that the project or the lab knows are chosen by this, too.
        """
        known = known_components(project) if names else {}
        return cls(
            paths=tuple(Path(path) for path in values.drivers),
            beside=tuple(Path(path) for path in beside),
            names=tuple(name for name in names if name in known),
            project=project,
            measured=values.coverage != "none",
        )

    def check_paths(self) -> None:
        """Refuse a path that does not exist.

        Raises:
            ConfigError: There is one.
        """
        for path in (*self.paths, *self.beside):
            if not path.exists():
                raise ConfigError(f"there is no driver {path}", hint="a folder with a driver.yaml, that file, or a .sys file")

    def named(self) -> tuple[tuple[str, ...], ...]:
        """For each of ``paths``, the names of the drivers under test that it means.

        Raises:
            ConfigError: A path or a manifest is wrong.
        """
        return named_drivers(self.paths, project=self.project)

    def check(self, image: str, *, warn: Callable[[str], None]) -> list[str]:
        """Read the manifests, and compile the drivers if the image is to be built first, which takes minutes.

        Args:
            image: The image's name, as users write it.
            warn: Called with each of the compiler's warnings.

        Returns:
            These warnings: a run has no log yet.

        Raises:
            ConfigError: A path or a manifest is wrong.
            HostToolError: A driver does not compile.
        """
        if builder_of(image) is None:
            # They are built in a moment, for the processor of the image.
            named_drivers((*self.paths, *self.beside), project=self.project)
            return []
        warned: list[str] = []

        def note(line: str) -> None:
            warn(line)
            warned.append(line)

        with tempfile.TemporaryDirectory(prefix="lab-drivers-") as folder:
            self.take(_USUAL, into=Path(folder), warn=note)
        return warned

    def take(
        self,
        arch: Arch,
        *,
        into: Path,
        progress: Callable[[str], None] | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> tuple[DriverPackage, ...]:
        """Build the drivers, and copy them and all files that their manifests list.

        Args:
            arch: Processor of the guests.
            into: Folder of the copies.
            progress: Called with a line for each step.
            warn: Called with each of the compiler's warnings; None: they are steps.

        Raises:
            ConfigError: A path or a manifest is wrong.
            HostToolError: A build failed.
        """
        return resolve_drivers(
            self.paths,
            beside=self.beside,
            names=self.names,
            into=into,
            arch=arch,
            project=self.project,
            with_clients=self.clients,
            progress=progress,
            warn=warn,
            measured=self.measured,
        )

    def take_once(self, arch: Arch, *, into: Path, marked: Collection[str] = ()) -> tuple[DriverPackage, ...]:
        """The copies of a run that several processes share: existing ones, or made now by the first process.

        `lab run` makes them before it starts pytest.

        Args:
            arch: Processor of the guests.
            into: Folder of the run's copies.
            marked: Drivers that the tests' markers name; those that the project or the lab knows join the run.

        Raises:
            ConfigError: A path or a manifest is wrong.
            HostToolError: A build failed.
            NoDriver: The tests name drivers, and the run has none at all.
        """
        into.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(into.parent / ".drivers.lock"):
            packages = read_packages(into)
            if packages is None:
                packages = self.take(arch, into=into)
            lacking = set(marked) - {package.name for package in packages}
            if not lacking:
                return packages
            known = known_components(self.project)
            names = sorted(name for name in lacking if name in known and known[name].manifest.kind == "driver")
            if not names and not packages:
                raise _no_driver(lacking)
            more = read_packages(into / MARKED) if names else ()
            if more is None:
                present = [package.name for package in packages]
                more = resolve_drivers(
                    names=names,
                    present=present,
                    into=into / MARKED,
                    arch=arch,
                    project=self.project,
                    measured=self.measured,
                )
            return (*packages, *more)


def _no_driver(wanted: Collection[str]) -> NoDriver:
    return NoDriver(
        f"this run has no driver, and its tests ask for {', '.join(sorted(wanted))}",
        hint="add its folder, driver.yaml or .sys under `drivers:` in lab.yaml, or use --driver PATH (pytest: --lab-driver);"
        " `lab init` writes a lab.yaml",
    )
