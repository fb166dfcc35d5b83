"""``driver.yaml``: what a driver or a guest program is called, what it is built from, and how it is loaded and used."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from lab.config.yamlfile import YamlDocument, dotted, read_yaml, validate
from lab.errors import ConfigError
from lab.toolchain.buildkeys import BuildKeys

Kind = Literal["driver", "program"]

#: A folder's manifest; a folder with several components has several files that end in it.
MANIFEST_NAME = "driver.yaml"

_ASCII = "%d bytes\n"
_SUFFIX: dict[Kind, str] = {"driver": ".sys", "program": ".exe"}
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]


class DriverManifest(BuildKeys):
    """The keys of ``driver.yaml``."""

    name: _Name = Field(description="what tests and commands call it; @pytest.mark.lab_driver(NAME)")
    kind: Kind = "driver"
    image: str = Field(
        min_length=1, description="file name of the build; without sources: path of a finished file, from the manifest's folder"
    )
    service: _Name | None = Field(default=None, description="driver: name of its service in the guest; NAME when not given")
    load_order_group: str = Field(default="LabDrivers", description="driver: its service's load-order group")
    start: Literal["demand", "boot"] = Field(
        default="demand", description="driver: how an image's own service of it starts; tests start drivers themselves"
    )
    links: tuple[str, ...] = Field(
        default=(), description=r"driver: how programs open its devices, for example \\.\LySharkSync"
    )
    clients: tuple[str, ...] = Field(
        default=(), description="driver: programs that exercise it, by name, or by path from the manifest's folder"
    )
    arches: tuple[Literal["x64", "x86"], ...] = Field(
        default=("x64", "x86"), min_length=1, description="processors that the sources are written for"
    )
    under_test: bool = Field(default=True, description="driver: part of every run; false for what serves the lab itself")
    encoding: str = Field(default="utf-8", description="driver: encoding of the text that it prints")
    description: str = Field(default="", description="one line for people")

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            # rot13 and base64 are codecs, too, but none of text: str.encode says so. DbgPrint prints narrow strings, whose
            # ASCII characters are bytes: UTF-16 has none.
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

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        suffix = _SUFFIX[self.kind]
        if not self.image.lower().endswith(suffix):
            raise ValueError(f"image of a {self.kind} must end in {suffix}")
        if self.sources and Path(self.image).name != self.image:
            raise ValueError("image must be a plain file name when there are sources to build it from")
        if self.kind == "program" and (self.service or self.links or self.clients):
            raise ValueError("service, links and clients are for drivers; this is a program")
        if self.start == "boot" and (self.under_test or self.kind == "program"):
            raise ValueError("start: boot is for drivers of an image (under_test: false): tests start theirs themselves")
        return self


@dataclass(frozen=True, slots=True)
class Component:
    """A manifest and where it was read from.

    Attributes:
        file: The manifest's path.
        manifest: What it says.
    """

    file: Path
    manifest: DriverManifest

    @property
    def name(self) -> str:
        """The manifest's name."""
        return self.manifest.name

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
        hint = "write at least name, image and sources; driver/README.md shows an example"
        raise ConfigError("is empty", file=str(path), line=1, hint=hint)
    component = Component(path.absolute(), validate(document, DriverManifest))
    _check_files(component, document)
    return component


def _check_files(component: Component, document: YamlDocument) -> None:
    """Refuse names of files and folders that are not there."""
    manifest, folder = component.manifest, component.folder
    for key, names in (("sources", manifest.sources), ("include", manifest.include)):
        for number, name in enumerate(names):
            there = (folder / name).is_dir() if key == "include" else (folder / name).is_file()
            if not there:
                raise _missing(document, (key, number), folder / name, "folder" if key == "include" else "file")
    if component.prebuilt and not component.prebuilt.is_file():
        hint = "correct the path, or name the files under `sources` to have it built"
        raise _missing(document, ("image",), component.prebuilt, "file", hint)


def _missing(document: YamlDocument, key: tuple[str | int, ...], path: Path, what: str, hint: str = "") -> ConfigError:
    near = [other.name for other in _siblings(path) if other.name.lower() == path.name.lower()]
    if near:
        hint = f"its name is {near[0]}: here large and small letters differ"
    return ConfigError(
        f"there is no {what} {path}",
        file=document.file,
        key=dotted(key),
        line=document.line(key),
        hint=hint or "paths count from the manifest's folder",
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
        raise ConfigError(f"no {MANIFEST_NAME} in the folder", file=str(folder), hint="driver/README.md shows how to write one")
    return [load_component(path) for path in found]
