"""What a lab file says, as a typed value; every key has a description, from which docs/lab.schema.json is made."""

from __future__ import annotations

import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from lab.config.machine import Machine
from lab.config.patterns import RegularExpression

Keep = Literal["never", "failed", "always"]
Boot = Literal["fork", "cold"]
Isolation = Literal["test", "class", "module", "session"]
Transport = Literal["winrm", "ssh"]
Files = Literal["media", "winrm", "sftp"]
Accelerator = Literal["auto", "kvm", "tcg"]
Debug = Literal["none", "kd"]
CrashDump = Literal["auto", "always", "never"]
LogLevel = Literal["debug", "info", "warning", "error"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KnownIssue(_Model):
    """A red test that is expected for a while. It is reported as ``known`` and does not fail the run."""

    test: str = Field(min_length=1, description="pattern of test ids, shell style: suites/async/*::test_order*")
    driver: str | None = Field(default=None, description="name of the driver it applies to; all drivers when absent")
    reason: str = Field(min_length=1, description="why it is red, and where that is followed up")
    until: datetime.date = Field(description="last day (UTC) on which the entry is in force, YYYY-MM-DD")
    verdict: Literal["product", "crash"] = Field(
        default="product", description="the verdict that is known; a crash is never excused by a known product failure"
    )


class LabFile(_Model):
    """``lab.yaml``: which guest, drivers and suites, and how they are run. Every key is optional."""

    image: str = Field(default="wine", min_length=1, description="guest image: a recipe's name under vm-images/, or a folder")
    transport: Transport = Field(default="winrm", description="how commands reach the guest")
    files: Files = Field(
        default="media",
        description="how files get into the guest: an ISO in its CD drive where the image offers one, WinRM or SFTP",
    )
    workers: int | Literal["auto"] = Field(
        default="auto", description="guests at the same time; auto is what cores and memory carry"
    )
    drivers: tuple[str, ...] = Field(
        default=(),
        description="driver manifests (driver.yaml) or .sys files under test; --driver replaces one of them, or adds one",
    )
    suites: tuple[str, ...] = Field(default=("suites",), min_length=1, description="folders or files of the pytest suites")
    out: str = Field(default="out", min_length=1, description="folder that gets one folder for each run, and the link latest")
    boot_timeout: float | None = Field(
        default=None, gt=0, description="seconds until a guest must be ready; the image's own figure when absent"
    )
    accelerator: Accelerator = Field(default="auto", description="auto uses KVM where a probe guest really ran")
    debug: Debug = Field(
        default="none",
        description="kd boots a Windows image with its kernel debugger on, whose port the prints then come from; none boots it"
        " as it boots by itself",
    )
    boot: Boot = Field(default="fork", description="fork guests from a template, or boot each one cold")
    isolation: Isolation = Field(
        default="class", description="how long a fork serves; with class, the tests outside of classes of a module share one"
    )
    keep: Keep = Field(default="never", description="which guests stay after the run, to look around in")
    crash_dump: CrashDump = Field(
        default="auto",
        description="memory dumps of guests that crash or hang; auto takes one where a fault stops the whole guest (bugcheck)",
    )
    log_level: LogLevel = Field(default="info", description="least level of what is written to a run's lab.log")
    kernel_prints: tuple[RegularExpression, ...] = Field(
        default=(),
        description="what the guest's kernel prints by itself, as a debug kernel does: regular expressions that are found at"
        " the beginning of a print. Such prints stay in the record, marked as the kernel's, and no test counts them",
    )
    known: tuple[KnownIssue, ...] = Field(default=(), description="red tests that are expected for a while")
    machine: Machine = Field(
        default_factory=Machine, description="memory, processors, devices and disks of the guests' machine: docs/machine.md"
    )

    @field_validator("workers")
    @classmethod
    def _at_least_one(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError("must be auto or a number from 1 on")
        return value
