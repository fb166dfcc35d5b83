r"""``files:`` of a manifest: files that go into the guest, beside the driver or to a path of their own."""

from __future__ import annotations

import re
from pathlib import Path, PureWindowsPath

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lab.toolchain.buildkeys import relative_path

#: Characters that Windows forbids in a name, or that are special to cmd.
_NAME = r"[^\\/:*?\"<>|&%^!\x00-\x1f]*[^\\/:*?\"<>|&%^!\x00-\x1f. ]"
_WINDOWS_PATH = re.compile(rf"[A-Za-z]:(\\{_NAME})+")


class GuestFile(BaseModel):
    """One entry: a path from the manifest's folder, alone or with the place in the guest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(description="the file, relative to the manifest's folder")
    to: str = Field(default="", description=r"Windows path of the copy, such as C:\Windows\System32\drivers\table.bin")

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: object) -> object:
        return {"path": value} if isinstance(value, str) else value

    @field_validator("path")
    @classmethod
    def _relative(cls, value: str) -> str:
        name = Path(relative_path(value, "a file")).name
        if not re.fullmatch(_NAME, name):
            raise ValueError(
                f"{name} cannot be a file name in the guest: rename it, without % & ^ ! and the characters that Windows forbids"
            )
        return value

    @field_validator("to")
    @classmethod
    def _full(cls, value: str) -> str:
        if not _WINDOWS_PATH.fullmatch(value) or ".." in PureWindowsPath(value).parts:
            raise ValueError(r"must be the full Windows path of the copy, in single quotes: 'C:\data\table.bin'")
        return value

    @property
    def name(self) -> str:
        """Its file name."""
        return Path(self.path).name
