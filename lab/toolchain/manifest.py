"""``driver.yaml``: what a driver or a guest program is called, what it is built from, and how it is loaded and used."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from lab.config.yamlfile import KeyPath, YamlDocument, dotted, read_yaml, validate
from lab.errors import ConfigError
from lab.toolchain.buildkeys import BuildKeys, is_library_file, relative_path
from lab.toolchain.guestfiles import GuestFile
from lab.toolchain.reg_file import RegistryValue, parse_registry

Kind = Literal["driver", "program"]

#: A folder's manifest; a folder with several components has several files that end in it.
MANIFEST_NAME = "driver.yaml"

#: Names that users give to arguments of driver services, which do not exist: "Driver services do not receive these arguments",
#: https://learn.microsoft.com/windows/win32/api/winsvc/nf-winsvc-startservicew
_NO_ARGUMENTS = frozenset({"arguments", "args", "parameters", "start_arguments", "start_parameters"})
_OF_DRIVERS = ("service", "links", "clients", "registry", "files", "needs", "inf")
_ASCII = "%d bytes\n"
_SUFFIX: dict[Kind, str] = {"driver": ".sys", "program": ".exe"}
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]


class DriverManifest(BuildKeys):
    """The keys of ``driver.yaml``."""

    name: _Name = Field(description="the name that tests and commands use; @pytest.mark.lab_driver(NAME)")
    kind: Kind = "driver"
    image: str = Field(
        min_length=1,
        description="with sources: file name of the build; without: path of a finished file, relative to the manifest's folder",
    )
    service: _Name | None = Field(default=None, description="driver: name of its service in the guest; default: NAME")
    load_order_group: str = Field(default="LabDrivers", description="driver: the load-order group of its service")
    start: Literal["demand", "boot"] = Field(
        default="demand", description="driver: how its service starts if it is part of an image; tests start drivers themselves"
    )
    links: tuple[str, ...] = Field(
        default=(), description=r"driver: how programs open its devices, for example \\.\LySharkSync"
    )
    clients: tuple[str | dict[str, object], ...] = Field(
        default=(), description="driver: programs that exercise it: names, paths, or programs described here with `sources`"
    )
    registry: dict[str, object] = Field(default={}, description="driver: registry values below the key of its service")
    files: tuple[GuestFile, ...] = Field(
        default=(), description="driver: files that are copied beside it in the guest, or to `to`"
    )
    needs: tuple[str, ...] = Field(
        default=(), description="driver: drivers that are loaded before it and unloaded after it, by name or by path"
    )
    inf: str | None = Field(default=None, description="driver: the INF of its package, which pnputil installs (capability pnp)")
    arches: tuple[Literal["x64", "x86"], ...] = Field(
        default=("x64", "x86"), min_length=1, description="processors that the sources are written for"
    )
    under_test: bool = Field(default=True, description="driver: may be tested; false for a driver that serves the lab itself")
    encoding: str = Field(default="utf-8", description="driver: encoding of the text that it prints")
    description: str = Field(default="", description="one line for readers")

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            # rot13 and base64 are codecs, too, but not of text, so that str.encode refuses them. DbgPrint prints narrow
            # strings, whose ASCII characters are bytes: UTF-16 has none.
            if _ASCII.encode(value) != _ASCII.encode("ascii"):
                raise LookupError(value)
            return codecs.lookup(value).name
        except (LookupError, UnicodeError):
            raise ValueError(
                "must be an encoding of text that Python knows and that has ASCII in it, such as utf-8 or gbk"
            ) from None

    @field_validator("links")
    @classmethod
    def _device_links(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for link in value:
            if not link.startswith("\\\\.\\") or len(link) == 4:
                raise ValueError(r"must be device names in single quotes, such as '\\.\LySharkSync'")
        return value

    @field_validator("inf")
    @classmethod
    def _an_inf(cls, value: str | None) -> str | None:
        if value is not None and not relative_path(value, "a file").lower().endswith(".inf"):
            raise ValueError("must end in .inf")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        suffix = _SUFFIX[self.kind]
        if not self.image.lower().endswith(suffix):
            raise ValueError(f"image of a {self.kind} must end in {suffix}")
        if self.sources and Path(self.image).name != self.image:
            raise ValueError("with sources, image must be a file name without a folder")
        if self.start == "boot" and (self.under_test or self.kind == "program"):
            raise ValueError(
                "start: boot is for drivers that are part of an image (under_test: false); tests start the"
                " other drivers themselves"
            )
        return self


class InlineProgram(BuildKeys):
    """A client that a driver's manifest describes itself, among ``clients``."""

    name: _Name = Field(description="the name that tests use; client(NAME)")
    sources: tuple[str, ...] = Field(min_length=1, description="see the key of the manifest")

    def manifest(self) -> DriverManifest:
        """The same as the manifest of a program."""
        return DriverManifest.model_validate({**self.model_dump(), "kind": "program", "image": f"{self.name}.exe"})


@dataclass(frozen=True, slots=True)
class Component:
    """A manifest and where it was read from.

    Attributes:
        file: The manifest's path.
        manifest: Its content.
        registry: Its registry values.
        programs: The clients that it describes itself.
        lines: Key of the manifest → its line.
    """

    file: Path
    manifest: DriverManifest
    registry: tuple[RegistryValue, ...] = ()
    programs: tuple[Component, ...] = ()
    lines: Mapping[KeyPath, int] = field(default_factory=dict, compare=False, repr=False)

    def wrong(self, message: str, *key: str | int, hint: str = "") -> ConfigError:
        """An error about one of its keys, with its line."""
        return ConfigError(message, file=str(self.file), key=dotted(key), line=self.lines.get(key, 0), hint=hint)

    def line(self, *key: str | int) -> int:
        """The line of a key, or of the nearest one above it; 0 for none."""
        return next((self.lines[key[:end]] for end in range(len(key), 0, -1) if key[:end] in self.lines), 0)

    @property
    def name(self) -> str:
        """The manifest's name."""
        return self.manifest.name

    @property
    def identity(self) -> tuple[Path, str]:
        """Unique among all components: one manifest may describe a driver and its clients."""
        return self.file, self.name

    @property
    def folder(self) -> Path:
        """Paths in the manifest are relative to it."""
        return self.file.parent

    @property
    def image_name(self) -> str:
        """File name of the finished image, in output folders and in the guest."""
        return Path(self.manifest.image).name

    @property
    def service(self) -> str:
        """Name of the driver's service."""
        return self.manifest.service or self.manifest.name

    @property
    def prebuilt(self) -> Path | None:
        """The finished image that the manifest points at; None when it is built from sources."""
        return None if self.manifest.sources else self.folder / self.manifest.image


def load_component(path: Path) -> Component:
    """Read one manifest and check that the files which it names exist.

    Args:
        path: The manifest itself.

    Raises:
        ConfigError: With file, key and line.
    """
    document = read_yaml(path)
    if not document.data:
        hint = "write at least name, image and sources; docs/drivers.md has an example"
        raise ConfigError("is empty", file=str(path), line=1, hint=hint)
    for key in _NO_ARGUMENTS & document.data.keys():
        hint = "use registry values: `registry: {Parameters: {Level: 3}}`; DriverEntry gets the path of the key"
        said = "there is no such key, because Windows passes the arguments of StartService to no driver"
        raise ConfigError(said, file=str(path), key=key, line=document.line((key,)), hint=hint)
    manifest = validate(document, DriverManifest)
    registry = parse_registry(document)
    programs = tuple(_inline(path, document, number) for number, one in enumerate(manifest.clients) if isinstance(one, dict))
    component = Component(path.absolute(), manifest, registry, programs, document.lines)
    _check_kinds(component)
    _check_names(component)
    _check_files(component, document)
    _check_places(component)
    return component


def _inline(path: Path, document: YamlDocument, number: int) -> Component:
    """A client that is described inside of a manifest."""
    part = document.below(("clients", number))
    component = Component(path.absolute(), validate(part, InlineProgram).manifest(), lines=part.lines)
    _check_files(component, part)
    return component


def _check_kinds(component: Component) -> None:
    """Refuse keys that make no sense together."""
    manifest = component.manifest
    wrong = next((key for key in _OF_DRIVERS if getattr(manifest, key)), "") if manifest.kind == "program" else ""
    if wrong:
        raise component.wrong(f"{', '.join(_OF_DRIVERS)} are for drivers; this is a program", wrong, hint="leave it out")
    if manifest.inf and manifest.sources:
        said = "needs a finished image: the catalogue of the package holds its hash, and a new build would change the hash"
        raise component.wrong(said, "inf", hint="leave sources out, and sign image and catalogue with the tools of your build")


def _check_names(component: Component) -> None:
    """Refuse a program in a manifest that has the name of the driver, or of another program there."""
    taken = {component.name.lower(): "the driver"}
    for number, client in enumerate(component.manifest.clients):
        if isinstance(client, dict):
            name = str(client["name"])
            other = taken.setdefault(name.lower(), "")
            if other:
                hint = f"give the program another name, such as {name}-client"
                raise component.wrong(f"{name} is the name of {other}, too", "clients", number, hint=hint)
            taken[name.lower()] = "another program"


def _check_places(component: Component) -> None:
    """Refuse two files with one path in the guest, which ignores case."""
    manifest = component.manifest
    taken = {component.image_name.lower(): component.image_name}
    if manifest.inf:
        taken[Path(manifest.inf).name.lower()] = manifest.inf
    for number, file in enumerate(manifest.files):
        other = taken.setdefault((file.to or file.name).lower(), file.path)
        if other is not file.path:
            raise component.wrong(
                f"{file.path} and {other} have the same place in the guest, {file.to or f'{file.name} beside the driver'}",
                *("files", number),
                hint=r"remove one, rename one, or give one another place: {path: …, to: 'C:\…'}",
            )


def _check_files(component: Component, document: YamlDocument) -> None:
    """Refuse names of files and folders that do not exist."""
    manifest, folder = component.manifest, component.folder
    named = {
        "sources": manifest.sources,
        "include": manifest.include,
        "libraries": tuple(name for name in manifest.libraries if is_library_file(folder, name)),
        "files": tuple(file.path for file in manifest.files),
        "inf": (manifest.inf,) if manifest.inf else (),
    }
    for key, names in named.items():
        for number, name in enumerate(names):
            there = (folder / name).is_dir() if key == "include" else (folder / name).is_file()
            if not there:
                raise _missing(document, (key, number), folder / name, "folder" if key == "include" else "file")
    if component.prebuilt and not component.prebuilt.is_file():
        hint = "correct the path; to have it built, name its files under `sources`"
        raise _missing(document, ("image",), component.prebuilt, "file", hint)


def _missing(document: YamlDocument, key: tuple[str | int, ...], path: Path, what: str, hint: str = "") -> ConfigError:
    near = [other.name for other in _siblings(path) if other.name.lower() == path.name.lower()]
    if near:
        hint = f"its name is {near[0]}: letter case matters here"
    return ConfigError(
        f"there is no {what} {path}",
        file=document.file,
        key=dotted(key),
        line=document.line(key),
        hint=hint or "paths are relative to the manifest's folder",
    )


def _siblings(path: Path) -> list[Path]:
    try:
        return sorted(path.parent.iterdir())
    except OSError:
        return []


def manifests_in(folder: Path) -> list[Path]:
    """The manifests of one folder: ``driver.yaml`` and ``*.driver.yaml``, sorted."""
    return sorted(path for path in folder.glob(f"*{MANIFEST_NAME}") if path.name == MANIFEST_NAME or path.name.count(".") > 1)


def load_folder(folder: Path) -> list[Component]:
    """Read all manifests of one folder.

    Raises:
        ConfigError: There is none, or one is wrong.
    """
    found = manifests_in(folder)
    if not found:
        hint = "`lab init` writes one; docs/drivers.md lists its keys"
        raise ConfigError(f"no {MANIFEST_NAME} in the folder", file=str(folder), hint=hint)
    return [load_component(path) for path in found]
