"""What a lab file says, as a typed value, and the table of all settings: a new one is one field here.

A field's description goes into docs/lab.schema.json. Its annotation, :class:`lab.config.setting_table.Setting`, says how else
users set it.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from lab.config.kinds import MEDIA, TRANSPORTS, OneOf, transport_names, ways_of_files
from lab.config.machine import Machine
from lab.config.patterns import RegularExpression
from lab.config.setting_table import (
    CommandOption,
    PytestOption,
    Setting,
    folder_below,
    name_or_path_below,
    paths_below,
    seconds,
)
from lab.config.verifier import OFF, VerifierProfile

Keep = Literal["never", "failed", "always"]
Boot = Literal["fork", "cold"]
Isolation = Literal["test", "class", "module", "session"]
Transport = Annotated[str, OneOf(transport_names)]
Files = Annotated[str, OneOf(ways_of_files)]
Accelerator = Literal["auto", "kvm", "tcg"]
ClockChoice = Literal["auto", "virtual", "real"]
Debug = Literal["none", "kd"]
Coverage = Literal["none", "lines"]
CrashDump = Literal["auto", "always", "never"]
LogLevel = Literal["debug", "info", "warning", "error"]


#: The image that needs nothing from the user: `lab setup` builds it, and it is the default of runs.
DEFAULT_IMAGE = "wine"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KnownIssue(_Model):
    """A red test that is expected for a while. It is reported as ``known`` and does not fail the run."""

    test: str = Field(min_length=1, description="pattern of test ids, with shell wildcards: suites/async/*::test_order*")
    driver: str | None = Field(default=None, description="name of the driver that it applies to; default: all drivers")
    signature: str | None = Field(
        default=None,
        min_length=1,
        description="what it fails of, as the report has it (signature), with shell wildcards; another failure of the test is"
        " not known. Default: any failure",
    )
    reason: str = Field(min_length=1, description="why the test fails, and where the problem is tracked")
    until: datetime.date = Field(description="last day (UTC) of the entry, YYYY-MM-DD")
    verdict: Literal["product", "crash"] = Field(
        default="product", description="the known verdict; a known product failure does not excuse a crash"
    )


class SessionSettings(_Model):
    """Settings of every pytest session that uses the lab; all of them are in the value of the ``lab_config`` fixture."""

    image: Annotated[
        str,
        Setting(
            pytest=PytestOption("Guest image: a recipe's name, or the folder of a built image"),
            command=CommandOption(
                ("run", "bisect", "up", "fork", "snapshot", "selftest", "bench"),
                "Guest image: a recipe's name, or a folder",
                flags=("--guest", "--image"),
            ),
            below=name_or_path_below,
        ),
    ] = Field(default=DEFAULT_IMAGE, min_length=1, description="guest image: a recipe's name under vm-images/, or a folder")
    drivers: Annotated[
        tuple[str, ...],
        Setting(
            pytest=PytestOption("Driver under test: its folder, driver.yaml or .sys file; may be repeated", "--lab-driver"),
            command=CommandOption(
                ("run", "bisect", "fork", "snapshot", "debug"),
                "Driver under test: folder, driver.yaml or .sys; may be repeated",
                flags=("--driver",),
                metavar="PATH",
            ),
            below=paths_below,
        ),
    ] = Field(
        default=(),
        description="driver manifests (driver.yaml) or .sys files under test; --driver replaces one of them, or adds one",
    )
    transport: Annotated[
        Transport,
        Setting(
            pytest=PytestOption("How commands reach the guest"),
            command=CommandOption(
                ("run", "bisect", "up", "fork", "snapshot"),
                # Kinds of packages are not in the help: every start of the command would need the time to find them.
                f"How commands reach the guest: {', '.join(TRANSPORTS.builtin)}, or the name of an installed transport",
            ),
        ),
    ] = Field(default="winrm", description="how commands reach the guest")
    files: Annotated[
        Files,
        Setting(
            pytest=PytestOption("How files get into the guest"),
            command=CommandOption(
                ("run", "bisect"), f"How files get into the guest: {MEDIA}, winrm, sftp, or the word of an installed transport"
            ),
        ),
    ] = Field(
        default=MEDIA,
        description="how files get into the guest: media (an ISO in its CD drive, if the image has one), winrm, sftp",
    )
    boot_timeout: Annotated[
        float | None,
        Setting(
            pytest=PytestOption("Seconds until a guest must be ready", parse=seconds),
            command=CommandOption(("run", "bisect", "up", "selftest"), "Deadline for a guest to be ready", metavar="SECONDS"),
        ),
    ] = Field(default=None, gt=0, description="seconds until a guest must be ready; default: the image's own")
    client_timeout: Annotated[
        float,
        Setting(
            pytest=PytestOption("Seconds until a client that does not end is terminated", parse=seconds),
            command=CommandOption(
                ("run", "bisect", "selftest"), "Deadline for a client program, or a script of reader, to end", metavar="SECONDS"
            ),
        ),
    ] = Field(
        default=60,
        gt=0,
        description="seconds of the host until a client program, or a script of the fixture `reader`, is terminated that does"
        " not end; a test may give another number",
    )
    accelerator: Annotated[
        Accelerator,
        Setting(
            pytest=PytestOption("Accelerator; auto uses KVM where it really works", "--lab-accel"),
            command=CommandOption(
                ("run", "bisect", "up", "fork", "snapshot", "selftest", "bench"),
                "auto, kvm or tcg",
                flags=("--accelerator", "--accel"),
            ),
        ),
    ] = Field(default="auto", description="auto uses KVM if a test guest ran with it")
    clock: Annotated[
        ClockChoice,
        Setting(
            pytest=PytestOption("Clock of the guests; auto: virtual where it can be"),
            command=CommandOption(
                ("run", "bisect", "up", "fork", "snapshot", "selftest"), "Clock of the guest: auto, virtual or real"
            ),
        ),
    ] = Field(
        default="auto",
        description="virtual: the guest's time passes only while the lab waits for the guest, and jumps over idle time; real:"
        " it is the host's; auto: virtual where the guest is emulated, has one CPU and can work with it, but real for guests"
        " of lab up and lab fork",
    )
    debug: Annotated[Debug, Setting(pytest=PytestOption("kd boots a Windows image with its kernel debugger"))] = Field(
        default="none",
        description="kd: boot a Windows image with its kernel debugger and read the prints from the debugger's port; none:"
        " boot it normally",
    )
    boot: Annotated[
        Boot,
        Setting(
            pytest=PytestOption("How guests start: fork (from a template) or cold (each is booted)"),
            command=CommandOption(
                ("run", "bisect"), "Boot every guest instead of using templates", flags=("--no-fork",), value="cold"
            ),
        ),
    ] = Field(default="fork", description="fork: resume guests from a template; cold: boot each one")
    isolation: Annotated[
        Isolation,
        Setting(
            pytest=PytestOption(
                "Tests that share a fork: test, class (also: the tests of a module outside of classes), module or session"
            ),
            command=CommandOption(("run",), "Tests that share a fork: test, class, module or session"),
        ),
    ] = Field(
        default="class",
        description="which tests share a fork; with class, the tests of a module that are outside of classes share one",
    )
    keep: Annotated[
        Keep,
        Setting(
            pytest=PytestOption("Which guests stay up after the run"),
            command=CommandOption(("run",), "Guests that stay up after the run: never, failed or always"),
            repeated=False,
        ),
    ] = Field(default="never", description="which guests stay up after the run")
    crash_dump: Annotated[
        CrashDump,
        Setting(
            pytest=PytestOption("Memory dumps of guests that crash"),
            command=CommandOption(
                ("run", "selftest"),
                "Memory dumps of guests that crash or hang: auto (if a fault stops the whole guest), always or never",
            ),
        ),
    ] = Field(
        default="auto",
        description="memory dumps of guests that crash or hang; auto: if a fault stops the whole guest (bugcheck)",
    )
    log_level: Annotated[
        LogLevel,
        Setting(
            pytest=PytestOption("Lowest level in lab.log"),
            command=CommandOption(("run",), "Lowest level in lab.log: debug, info, warning or error"),
            repeated=False,
        ),
    ] = Field(default="info", description="lowest level that is written to a run's lab.log")
    coverage: Annotated[
        Coverage,
        Setting(
            pytest=PytestOption("Count how often each line of the drivers runs: lines, or none"),
            command=CommandOption(
                ("run",), "Count how often each line of the drivers runs", flags=("--coverage",), value="lines"
            ),
        ),
    ] = Field(
        default="none",
        description="lines: drivers that are built from sources count how often each of their lines runs (docs/coverage.md)",
    )
    verifier: Annotated[
        str,
        Setting(
            pytest=PytestOption("Profile of Driver Verifier for the drivers, or off"),
            command=CommandOption(
                ("run", "bisect"), "Profile of Driver Verifier for the drivers under test, or off", metavar="PROFILE"
            ),
        ),
    ] = Field(
        default=OFF,
        min_length=1,
        description="profile of Driver Verifier for the drivers under test: off, standard, special-pool, lowres, systematic, or"
        " one of verifier_profiles (docs/verifier.md); needs a Windows guest",
    )
    verifier_profiles: dict[str, VerifierProfile] = Field(
        default_factory=dict, description="more profiles of Driver Verifier, by name (docs/verifier.md)"
    )
    kernel_prints: tuple[RegularExpression, ...] = Field(
        default=(),
        description="prints of the guest's kernel itself, such as those of a debug kernel: regular expressions that match the"
        " beginning of a print. Such prints stay in the record, marked as the kernel's, and no test counts them",
    )
    known: tuple[KnownIssue, ...] = Field(default=(), description="failing tests that are expected for some time")
    vm: Annotated[Machine, Setting(environment=False, pytest=None, below=Machine.below)] = Field(
        default_factory=Machine,
        description="memory, processors, devices and disks of the guest's virtual machine: docs/vm.md",
    )

    @field_validator("verifier", mode="before")
    @classmethod
    def _off_is_no_boolean(cls, value: object) -> object:
        """YAML reads ``off`` without quotes as a boolean."""
        return OFF if value is False else value


class LabFile(SessionSettings):
    """``lab.yaml``: which guest, drivers and suites, and how they are run. Every key is optional."""

    workers: Annotated[
        int | Literal["auto"],
        Setting(
            pytest=None,  # pytest-xdist has an option of its own
            command=CommandOption(("run", "bisect"), "Number of guests at the same time, or auto"),
            repeated=False,
        ),
    ] = Field(default="auto", description="number of guests at the same time; auto: as many as cores and memory allow")
    suites: Annotated[tuple[str, ...], Setting(pytest=None, below=paths_below)] = Field(
        default=("suites",), min_length=1, description="folders or files of the pytest suites"
    )
    out: Annotated[str, Setting(pytest=None, below=folder_below)] = Field(
        default="out", min_length=1, description="folder for results: one folder for each run, and the link latest"
    )

    coverage_fail_under: Annotated[
        float | None,
        Setting(
            pytest=None,
            command=CommandOption(("run",), "With --coverage: the run fails if fewer lines ran, of 100", metavar="PERCENT"),
        ),
    ] = Field(
        default=None,
        ge=0,
        le=100,
        description="a run with coverage ends with 5 if fewer lines of its drivers ran, of 100",
    )
    baselines: Annotated[
        str | None,
        Setting(
            pytest=None,
            command=CommandOption(("baseline", "compare", "run"), "Folder of the baselines", metavar="DIR"),
            below=folder_below,
            repeated=False,
        ),
    ] = Field(
        default=None,
        min_length=1,
        description="folder of the baselines that runs are compared with, to be committed or shared; default: in the state"
        " folder of the user",
    )

    @field_validator("workers")
    @classmethod
    def _at_least_one(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError("must be auto or a number, at least 1")
        return value
