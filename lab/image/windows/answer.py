"""``autounattend.xml``: everything that Windows Setup would ask, answered.

Setup keeps a copy of it in the guest, with the passwords in plain text; provisioning deletes that.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path

import jinja2
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from lab.host.assets import data_root
from lab.image.windows.recipe import WindowsRecipeFile

ANSWER_FILE = "autounattend.xml"
TEMPLATE = f"{ANSWER_FILE}.j2"
#: The launcher of the provisioning on the payload CD; scripts also find the CD by this file, since its drive letter varies.
LAUNCHER = "lab\\start.cmd"
#: No A and B: asking an empty floppy drive takes seconds.
_LETTERS = " ".join(string.ascii_uppercase[2:])
_BYPASS_VALUES = {"tpm": "BypassTPMCheck", "secure_boot": "BypassSecureBootCheck", "ram": "BypassRAMCheck"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A partition that Setup makes.

    Attributes:
        number: Its number on the disk, from 1 on.
        type: Setup's word for its type.
        size_mb: Its size in MiB; 0: what is left.
        format: File system; empty: none.
        label: Volume label.
        letter: Drive letter; empty: none.
        active: The BIOS starts from it.
    """

    number: int
    type: str
    size_mb: int = 0
    format: str = ""
    label: str = ""
    letter: str = ""
    active: bool = False


#: The last one is Windows'. No recovery partition: it would stand in the way when the disk is made larger.
PARTITIONS = {
    "uefi": (
        Partition(number=1, type="EFI", size_mb=260, format="FAT32", label="System"),
        Partition(number=2, type="MSR", size_mb=16),
        Partition(number=3, type="Primary", format="NTFS", label="Windows", letter="C"),
    ),
    "bios": (
        Partition(number=1, type="Primary", size_mb=500, format="NTFS", label="System", active=True),
        Partition(number=2, type="Primary", format="NTFS", label="Windows", letter="C"),
    ),
}


class AnswerValues(BaseModel):
    """What is different for each build of an image."""

    # An error about these must not quote a password.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    image_index: int = Field(ge=1, description="number of the edition in install.wim")
    computer_name: str = Field(default="LAB", pattern=r"^[A-Za-z][A-Za-z0-9-]{0,14}$", description="NetBIOS name")
    username: str = Field(default="labuser", pattern=r"^[A-Za-z][A-Za-z0-9_]{0,19}$", description="local administrator")
    password: SecretStr = Field(description="password of the account and of Administrator")
    product_key: SecretStr | None = Field(
        default=None, description="the user's product key; default: none, for evaluation media"
    )

    @field_validator("product_key")
    @classmethod
    def _five_groups(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            groups = value.get_secret_value().split("-")
            if len(groups) != 5 or not all(len(group) == 5 and group.isascii() and group.isalnum() for group in groups):
                raise ValueError("a product key is five groups of five letters and digits")
        return value

    @model_validator(mode="after")
    def _windows_takes_it(self) -> AnswerValues:
        # Windows Server's default policy. A password that it refuses stops Setup at a screen that asks for another one.
        text = self.password.get_secret_value()
        kinds = (string.ascii_uppercase, string.ascii_lowercase, string.digits)
        found = sum(any(char in kind for char in text) for kind in kinds) + any(not char.isalnum() for char in text)
        if not 8 <= len(text) <= 127 or found < 3 or not text.isascii() or not text.isprintable():
            raise ValueError("the password needs 8 to 127 ASCII characters of three kinds: upper, lower, digits, others")
        if len(self.username) > 2 and self.username.lower() in text.lower():
            raise ValueError("the password must not contain the name of the account")
        return self


def common_folder(root: Path | None = None) -> Path:
    """The folder of what all Windows images share; the lab's own when ``root`` is None."""
    return (root or data_root()) / "vm-images" / "windows-common"


def render_answer(recipe: WindowsRecipeFile, values: AnswerValues, *, folder: Path | None = None) -> bytes:
    """Make the answer file.

    Args:
        recipe: What to install.
        values: What this build has of its own.
        folder: Where the template lies; None: the lab's own.

    Returns:
        UTF-8 with lines as Windows ends them. It holds the passwords.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder or common_folder()),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    partitions = PARTITIONS[recipe.machine.firmware]
    text = environment.get_template(TEMPLATE).render(
        recipe=recipe,
        values=values,
        partitions=partitions,
        install_to=partitions[-1].number,
        winpe_commands=_winpe_commands(recipe),
        specialize_commands=_specialize_commands(recipe),
        first_logon=_first_logon(),
        password=values.password.get_secret_value(),
        product_key=values.product_key.get_secret_value() if values.product_key else "",
    )
    lines = [line.rstrip() for line in text.splitlines()]
    return "".join(line + "\r\n" for line in lines if line).encode("utf-8")


def report_command(stage: str, state: str) -> str:
    """A command that writes a stage line to COM1 for the host. It never makes the caller fail."""
    # No space before the sign: echo would write it. cmd ends with 0 whether or not there is a COM1.
    return rf"cmd.exe /d /c (echo LAB {stage} {state}>\\.\COM1) & exit 0"


def _winpe_commands(recipe: WindowsRecipeFile) -> list[str]:
    bypasses = [
        rf"reg.exe add HKLM\SYSTEM\Setup\LabConfig /v {_BYPASS_VALUES[name]} /t REG_DWORD /d 1 /f" for name in recipe.bypasses
    ]
    return [*bypasses, report_command("winpe", "start")]


def _specialize_commands(recipe: WindowsRecipeFile) -> list[str]:
    """Registry work only: in this pass neither the network nor most services are there."""
    signature = r"HKLM\SOFTWARE\Policies\Microsoft\Windows NT\CurrentVersion\NetworkList\Signatures\FirstNetwork"
    commands = [
        report_command("specialize", "start"),
        # The first network is a private one, so that nothing asks about it.
        rf'reg.exe add "{signature}" /v Category /t REG_DWORD /d 1 /f',
        r"reg.exe add HKLM\SYSTEM\CurrentControlSet\Control\Network\NewNetworkWindowOff /f",
        # A local administrator that logs in over the network gets the full token.
        r"reg.exe add HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System"
        r" /v LocalAccountTokenFilterPolicy /t REG_DWORD /d 1 /f",
    ]
    if not recipe.is_server:
        # Setup of a client goes on without a network and without an account online.
        commands.append(r"reg.exe add HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\OOBE /v BypassNRO /t REG_DWORD /d 1 /f")
    return commands


def _first_logon() -> str:
    """The one command of the first logon: finds the payload CD, whatever letter it has, and starts the launcher."""
    return rf"cmd.exe /d /c for %d in ({_LETTERS}) do @if exist %d:\{LAUNCHER} call %d:\{LAUNCHER}"
