"""The key ``vm:`` of a lab file: changes and additions to the guests' virtual machine."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)

from lab.config.arguments import why_refused

Access = Literal["overlay", "read-only", "write"]
DiskFormat = Literal["qcow2", "raw", "vmdk", "vdi", "vhdx", "vpc"]
Interface = Literal["virtio", "ide", "none"]

_MEMORY = re.compile(r"([0-9]+) ?(M|MB|MiB|G|GB|GiB)?", re.IGNORECASE)
_ID = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,60}")
_PROPERTY = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
#: Names that the lab gives to the parts of each VM.
_OWN_ID = re.compile(
    r"(?:drive|disk|cd|media|net|rng|serial|channel|port)[0-9]+|pc\.ram|qmp|channels|debugcon|added[0-9]+", re.IGNORECASE
)


def _mebibytes(value: Any) -> Any:
    """``2048`` and ``2G`` as MiB."""
    if isinstance(value, str):
        found = _MEMORY.fullmatch(value.strip())
        if not found:
            raise ValueError("must be a number of MiB, or a text such as 512M or 2G")
        return int(found[1]) * (1024 if (found[2] or "M").upper().startswith("G") else 1)
    if isinstance(value, float):
        raise ValueError("must be a whole number of MiB, or a text such as 512M or 2G")
    return value


def _scalar(value: Any) -> Any:
    if isinstance(value, float):
        raise ValueError("YAML reads it as a fraction; put it in quotes, as in addr: '05.0'")
    if value is None or isinstance(value, (list, dict)):
        raise ValueError("must be a text, a whole number, or true or false")
    return value


def _identifier(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ValueError("must be a name: a letter, then letters, digits, '.', '_' and '-'")
    if _OWN_ID.fullmatch(text):
        raise ValueError("the lab uses this name for a part of the virtual machine; choose another one")
    return text


def _model_name(text: str) -> str:
    if not text or any(char in text for char in ", \t\n="):
        raise ValueError("must be only the name of a device model; write its properties as keys beside `driver`")
    return text


def _argument(text: str) -> str:
    if reason := why_refused(text):
        raise ValueError(f"cannot be used: {reason}")
    return text


def _cpu_model(text: str) -> str:
    if not text.strip() or text.startswith("-"):
        raise ValueError("must be a CPU model of QEMU, followed by its flags, with commas: Skylake-Client,avx2=off")
    return text


Identifier = Annotated[str, Field(min_length=1), AfterValidator(_identifier)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AddedDevice(BaseModel):
    """A device of QEMU; every key beside ``driver`` is a property of it, as ``-device`` has them."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Annotated[StrictStr | StrictInt | StrictBool, BeforeValidator(_scalar)]] = Field(init=False)

    driver: Annotated[str, AfterValidator(_model_name)] = Field(
        description="device model, as `qemu-system-x86_64 -device help` names it: edu, e1000e, nvme, …"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, value in (self.__pydantic_extra__ or {}).items():
            if not _PROPERTY.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a property")
            if name == "id":
                _identifier(str(value))
        return self

    @property
    def properties(self) -> dict[str, str | int | bool]:
        """All keys beside ``driver``."""
        return dict(self.__pydantic_extra__ or {})

    def text(self) -> str:
        """What ``-device`` takes, for example ``edu,dma_mask=4294967295``."""
        parts = [self.driver]
        for name, value in self.properties.items():
            said = ("on" if value else "off") if isinstance(value, bool) else str(value).replace(",", ",,")
            parts.append(f"{name}={said}")
        return ",".join(parts)


class AddedDisk(_Model):
    """A disk from a file of the user. Guests write to it only if that is asked for."""

    file: str = Field(min_length=1, description="the disk's file; relative to the lab file's folder")
    access: Access = Field(
        default="overlay",
        description="overlay: each guest writes to an overlay of its own; read-only: the guest cannot write; write: the guest"
        " writes to this file; then only one guest runs at a time, and each is booted",
    )
    format: DiskFormat | None = Field(default=None, description="the file's format; default: what `qemu-img info` says")
    interface: Interface | None = Field(
        default=None,
        description="virtio or ide (AHCI); none: a drive that an entry of `devices` uses by `drive: ID`; default: the image's"
        " own interface",
    )
    id: Identifier | None = Field(default=None, description="name of the drive, for an entry of `devices` with `drive: ID`")
    serial: str | None = Field(default=None, min_length=1, max_length=36, description="serial number that the guest sees")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.interface == "none" and self.id is None:
            raise ValueError("interface none needs an `id`, so that a device can name the drive")
        if self.interface == "none" and self.serial is not None:
            raise ValueError("serial belongs to the device that uses the drive: write it in `devices`")
        return self


class Machine(_Model):
    """``vm:``: changes and additions to the virtual machine that the image asks for. Every key is optional."""

    memory: Annotated[int, BeforeValidator(_mebibytes), Field(ge=128, le=1 << 20, strict=True)] | None = Field(
        default=None, description="RAM in MiB, or a text such as 2G; default: the image's own"
    )
    cpus: int | None = Field(
        default=None,
        ge=1,
        le=255,
        strict=True,
        description="virtual CPUs, except for tests with lab_cpus; default: the image's own",
    )
    cpu: Annotated[str, AfterValidator(_cpu_model)] | None = Field(
        default=None,
        description="CPU model and flags as in QEMU's -cpu; flags that the image needs under TCG are added; default: the"
        " image's own",
    )
    devices: tuple[AddedDevice, ...] = Field(default=(), description="devices of QEMU: {driver: edu, dma_mask: 4294967295}")
    disks: tuple[AddedDisk, ...] = Field(default=(), description="disks from files; they come after the guest's own")
    arguments: tuple[Annotated[str, AfterValidator(_argument)], ...] = Field(
        default=(), description="more arguments of QEMU, one word each; arguments that would interfere with the lab are refused"
    )

    @model_validator(mode="after")
    def _ids(self) -> Self:
        seen: set[str] = set()
        ids = [str(device.properties["id"]) for device in self.devices if "id" in device.properties]
        for name in [*ids, *(disk.id for disk in self.disks if disk.id)]:
            if name in seen:
                raise ValueError(f"the id {name!r} is used twice; each device and drive needs an id of its own")
            seen.add(name)
        return self

    @property
    def adds(self) -> bool:
        """Whether it changes or adds anything."""
        return self != Machine()

    @property
    def attaches(self) -> bool:
        """Whether it adds parts, beside memory and processors."""
        return bool(self.devices or self.disks or self.arguments)

    @property
    def writes(self) -> bool:
        """Whether a guest writes to the user's file: then only one guest runs at a time, and none is forked."""
        return any(disk.access == "write" for disk in self.disks)

    def parts(self) -> list[str]:
        """The changes and additions, one line each, for people."""
        lines = [f"memory {self.memory} MB"] if self.memory is not None else []
        lines += [f"{self.cpus} virtual CPU{'s' if self.cpus > 1 else ''}"] if self.cpus is not None else []
        lines += [f"CPU model {self.cpu}"] if self.cpu is not None else []
        lines += [f"device {device.text()}" for device in self.devices]
        how = {"overlay": "guests write to an overlay", "read-only": "read-only", "write": "guests write to it"}
        lines += [f"disk {disk.file} ({how[disk.access]})" for disk in self.disks]
        return lines + ([f"arguments {shlex.join(self.arguments)}"] if self.arguments else [])

    def __str__(self) -> str:
        return ", ".join(self.parts())

    def below(self, folder: Path) -> Machine:
        """The same with relative files taken from ``folder``."""
        disks = tuple(
            disk.model_copy(update={"file": str((folder / Path(disk.file).expanduser()).absolute())}) for disk in self.disks
        )
        return self.model_copy(update={"disks": disks})
