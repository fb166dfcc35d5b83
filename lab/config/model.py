"""What a lab file says, as a typed value; every key has a description, from which docs/lab.schema.json is made."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from lab.config.kinds import OneOf, transport_names, ways_of_files
from lab.config.machine import Machine
from lab.config.patterns import RegularExpression

Keep = Literal["never", "failed", "always"]
Boot = Literal["fork", "cold"]
Isolation = Literal["test", "class", "module", "session"]
Transport = Annotated[str, OneOf(transport_names)]
Files = Annotated[str, OneOf(ways_of_files)]
Accelerator = Literal["auto", "kvm", "tcg"]
Debug = Literal["none", "kd"]
CrashDump = Literal["auto", "always", "never"]
LogLevel = Literal["debug", "info", "warning", "error"]


#: The image that needs nothing from the user: `lab setup` builds it, and runs take it that name no other.
DEFAULT_IMAGE = "wine"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KnownIssue(_Model):
    """A red test that is expected for a while. It is reported as ``known`` and does not fail the run."""

    test: str = Field(min_length=1, description="pattern of test ids, with shell wildcards: suites/async/*::test_order*")
    driver: str | None = Field(default=None, description="name of the driver that it applies to; default: all drivers")
    reason: str = Field(min_length=1, description="why the test fails, and where the problem is tracked")
    until: datetime.date = Field(description="last day (UTC) of the entry, YYYY-MM-DD")
    verdict: Literal["product", "crash"] = Field(
        default="product", description="the known verdict; a known product failure does not excuse a crash"
    )


class LabFile(_Model):
    """``lab.yaml``: which guest, drivers and suites, and how they are run. Every key is optional."""

    image: str = Field(
        default=DEFAULT_IMAGE, min_length=1, description="guest image: a recipe's name under vm-images/, or a folder"
    )
    transport: Transport = Field(default="winrm", description="how commands reach the guest")
    files: Files = Field(
        default="media",
        description="how files get into the guest: media (an ISO in its CD drive, if the image has one), winrm, sftp",
    )
    workers: int | Literal["auto"] = Field(
        default="auto", description="number of guests at the same time; auto: as many as cores and memory allow"
    )
    drivers: tuple[str, ...] = Field(
        default=(),
        description="driver manifests (driver.yaml) or .sys files under test; --driver replaces one of them, or adds one",
    )
    suites: tuple[str, ...] = Field(default=("suites",), min_length=1, description="folders or files of the pytest suites")
    out: str = Field(
        default="out", min_length=1, description="folder for results: one folder for each run, and the link latest"
    )
    boot_timeout: float | None = Field(
        default=None, gt=0, description="seconds until a guest must be ready; default: the image's own"
    )
    accelerator: Accelerator = Field(default="auto", description="auto uses KVM if a test guest ran with it")
    debug: Debug = Field(
        default="none",
        description="kd: boot a Windows image with its kernel debugger and read the prints from the debugger's port; none:"
        " boot it normally",
    )
    boot: Boot = Field(default="fork", description="fork: resume guests from a template; cold: boot each one")
    isolation: Isolation = Field(
        default="class",
        description="which tests share a fork; with class, the tests of a module that are outside of classes share one",
    )
    keep: Keep = Field(default="never", description="which guests stay up after the run")
    crash_dump: CrashDump = Field(
        default="auto",
        description="memory dumps of guests that crash or hang; auto: if a fault stops the whole guest (bugcheck)",
    )
    log_level: LogLevel = Field(default="info", description="lowest level that is written to a run's lab.log")
    kernel_prints: tuple[RegularExpression, ...] = Field(
        default=(),
        description="prints of the guest's kernel itself, such as those of a debug kernel: regular expressions that match the"
        " beginning of a print. Such prints stay in the record, marked as the kernel's, and no test counts them",
    )
    known: tuple[KnownIssue, ...] = Field(default=(), description="failing tests that are expected for some time")
    machine: Machine = Field(
        default_factory=Machine,
        description="memory, processors, devices and disks of the guest's virtual machine: docs/machine.md",
    )

    @field_validator("workers")
    @classmethod
    def _at_least_one(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError("must be auto or a number, at least 1")
        return value
