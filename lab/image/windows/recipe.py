"""``recipe.yaml`` of a Windows image: which edition, what VM, and what is done in the guest."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lab.config.yamlfile import read_yaml, validate
from lab.errors import ConfigError
from lab.guest.capability import check_names
from lab.host.assets import data_root
from lab.host.renamed import note_old_name
from lab.image.names import one_of

RECIPE_FILE = "recipe.yaml"
_IMAGES = "vm-images"
_PREFIX = "windows-"
FirmwareKind = Literal["uefi", "bios"]
Bypass = Literal["tpm", "secure_boot", "ram"]
Windows = Literal["server-2022", "server-2025", "11", "10"]
#: Provisioning stages. Their order is the guest's, not that of the file: WinRM comes last, before the final stage alone, so
#: that a guest that answers is never half built.
STAGES = (
    "network",
    "tools",
    "certificates",
    "codeintegrity",
    "relay",
    "debugprint",
    "kd",
    "crashdumps",
    "quiet",
    "ssh",
    "winrm",
    "finish",
)
#: Old name → new name; for one release.
_OLD_STAGES = {"tap": "relay"}
#: Without these a guest cannot be used by the lab.
_REQUIRED = frozenset({"network", "tools", "certificates", "codeintegrity", "winrm", "finish"})
#: Capabilities that a stage brings: without the stage a recipe must not claim them.
_BROUGHT_BY = {"ssh": "ssh", "sftp": "ssh", "winrm": "winrm", "crash_dump": "crashdumps", "dbgprint": "relay"}
#: Windows that does not start from a BIOS.
_UEFI_ONLY = frozenset({"11", "server-2025"})


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MachineNeeds(_Model):
    """The VM that the image is built in and runs in."""

    firmware: FirmwareKind = Field(default="uefi", description="uefi, or bios for versions of Windows that can start from one")
    disk_gb: int = Field(default=64, ge=32, le=2048, description="size of the disk in GiB; the file grows as it is written")
    memory_mb: int = Field(default=4096, ge=2048, le=1 << 20, description="RAM in MiB")
    vcpus: int = Field(default=2, ge=1, le=64, description="virtual CPUs, all in one socket")


class WindowsRecipeFile(_Model):
    """``vm-images/windows-*/recipe.yaml``."""

    name: str = Field(pattern=r"^windows-[a-z0-9-]+$", description="name of the image, the same as the folder's")
    windows: Windows = Field(description="version of Windows, for steps that only some versions need")
    title: str = Field(min_length=1, description="the guest in one line, for reports")
    editions: tuple[str, ...] = Field(
        min_length=1, description="names of the wanted edition in install.wim, the preferred one first"
    )
    machine: MachineNeeds = MachineNeeds()
    locale: str = Field(
        default="en-US",
        pattern=r"^[a-z]{2,3}(-[A-Z][a-z]{3})?-[A-Z]{2}$",
        description="language of Setup and of the system; the ISO must have it",
    )
    bypasses: tuple[Bypass, ...] = Field(default=(), description="checks of Windows 11's Setup that are switched off")
    capabilities: tuple[str, ...] = Field(min_length=1, description="capabilities of a guest of this image")
    stages: tuple[str, ...] = Field(default=(), description="provisioning stages; default: all but ssh")
    evaluation_days: int | None = Field(
        default=None, ge=1, le=3650, description="days that evaluation media run; null: no limit"
    )
    crash_dump: Literal["kernel", "mini"] = Field(default="kernel", description="what a bugcheck writes to the disk")

    @field_validator("editions")
    @classmethod
    def _no_empty_edition(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(name.strip() for name in value):
            raise ValueError("an edition's name is empty")
        return value

    @field_validator("capabilities")
    @classmethod
    def _known_capabilities(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return check_names(value)
        except ConfigError as error:
            raise ValueError(f"{error.message} ({error.hint})") from None

    @field_validator("stages")
    @classmethod
    def _known_stages(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        value = tuple(_OLD_STAGES.get(name, name) for name in value)
        unknown = [name for name in value if name not in STAGES]
        if unknown:
            raise ValueError(f"there is no stage {unknown[0]!r}; the stages are {', '.join(STAGES)}")
        lost = [name for name in STAGES if value and name in _REQUIRED and name not in value]
        if lost:
            raise ValueError(f"the stages {', '.join(lost)} cannot be left out")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.machine.firmware == "bios" and self.windows in _UEFI_ONLY:
            raise ValueError(f"windows {self.windows} cannot start from a BIOS here: write uefi under machine.firmware")
        if self.bypasses and self.windows != "11":
            raise ValueError("bypasses are for windows 11 only")
        if self.windows == "11" and (self.machine.vcpus < 2 or self.machine.memory_mb < 4096 or self.machine.disk_gb < 64):
            raise ValueError("windows 11 needs 2 vcpus, 4096 MB of memory and 64 GB of disk; these checks have no bypass")
        for capability in self.capabilities:
            if _BROUGHT_BY.get(capability, "finish") not in self.ordered_stages:
                raise ValueError(f"the capability {capability} needs the stage {_BROUGHT_BY[capability]}")
        return self

    @property
    def ordered_stages(self) -> tuple[str, ...]:
        """The stages in the order in which the guest runs them."""
        wanted = self.stages or tuple(name for name in STAGES if name != "ssh")
        return tuple(name for name in STAGES if name in wanted)

    @property
    def is_server(self) -> bool:
        """A Windows Server: it has a server's features, and Server Manager."""
        return self.windows.startswith("server")


def windows_names(root: Path | None = None) -> tuple[str, ...]:
    """Names of the Windows recipes of the lab.

    Args:
        root: Folder of ``vm-images/``; None: the lab's own.
    """
    folders = ((root or data_root()) / _IMAGES).glob(f"{_PREFIX}*/{RECIPE_FILE}")
    return tuple(sorted(file.parent.name for file in folders))


def windows_recipe(name: str, root: Path | None = None) -> WindowsRecipeFile:
    """The recipe of a Windows image.

    Raises:
        ConfigError: There is none of this name, or it is wrong.
    """
    names = windows_names(root)
    if name not in names:
        raise ConfigError(f"there is no Windows recipe {name!r}", hint=one_of(name, names))
    return load_recipe((root or data_root()) / _IMAGES / name)


def load_recipe(folder: Path) -> WindowsRecipeFile:
    """Read the recipe of a folder.

    Raises:
        ConfigError: It cannot be read, or something in it is wrong; names file, key and line.
    """
    file = folder / RECIPE_FILE
    document = read_yaml(file)
    recipe = validate(document, WindowsRecipeFile)
    for old in _OLD_STAGES.keys() & set(document.data.get("stages") or ()):
        note_old_name(f"stages: {old}", _OLD_STAGES[old], where=str(file))
    if recipe.name != folder.name:
        raise ConfigError(
            f"must be {folder.name}, as the folder is named, not {recipe.name}",
            file=str(file),
            key="name",
            line=document.line(["name"]),
        )
    return recipe
