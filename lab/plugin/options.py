"""The plugin's options: command line, environment, pytest ini file, lab file, defaults, in this order."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from lab.config import KnownIssue
from lab.config.kinds import transport_names, ways_of_files
from lab.config.machine import Machine
from lab.config.model import CrashDump, LogLevel
from lab.config.project import find_lab_file
from lab.config.settings import Settings, load_settings, variable
from lab.errors import ConfigError


@dataclass(frozen=True, slots=True)
class _Option:
    """One option and its twins: ``--lab-image``, ini key ``lab_image``, and the environment variable of the lab file key."""

    flag: str
    key: str
    help: str
    choices: tuple[str, ...] | Callable[[], tuple[str, ...]] = ()
    convert: Callable[[str], Any] = str
    many: bool = False

    @property
    def dest(self) -> str:
        return self.flag.removeprefix("--").replace("-", "_")

    def allowed(self) -> tuple[str, ...]:
        """The values that it may have, as far as they are names; empty for any."""
        return self.choices() if callable(self.choices) else self.choices


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text!r}")
    return value


_OPTIONS = (
    _Option("--lab-image", "image", "Guest image: a recipe's name, or the folder of a built image"),
    _Option("--lab-driver", "drivers", "Driver under test: its folder, driver.yaml or .sys file; may be repeated", many=True),
    _Option("--lab-transport", "transport", "How commands reach the guest", choices=transport_names),
    _Option("--lab-files", "files", "How files get into the guest", choices=ways_of_files),
    _Option("--lab-boot-timeout", "boot_timeout", "Seconds until a guest must be ready", convert=_seconds),
    _Option("--lab-accel", "accelerator", "Accelerator; auto uses KVM where it really works", choices=("auto", "kvm", "tcg")),
    _Option("--lab-debug", "debug", "kd boots a Windows image with its kernel debugger", choices=("none", "kd")),
    _Option("--lab-crash-dump", "crash_dump", "Memory dumps of guests that crash", choices=("auto", "always", "never")),
    _Option(
        "--lab-boot", "boot", "How guests start: fork (from a template) or cold (each is booted)", choices=("fork", "cold")
    ),
    _Option(
        "--lab-isolation",
        "isolation",
        "Tests that share a fork: test, class (also: the tests of a module outside of classes), module or session",
        choices=("test", "class", "module", "session"),
    ),
    _Option("--lab-keep", "keep", "Which guests stay up after the run", choices=("never", "failed", "always")),
    _Option("--lab-log-level", "log_level", "Lowest level in lab.log", choices=("debug", "info", "warning", "error")),
)

_CONFIG_FLAG = "--lab-config"
OUT_FLAG = "--lab-out"
PREPARED_FLAG = "--lab-prepared"
UNITS_FLAG = "--lab-units"
ON_FLAG = "--lab-on"
ONLY_FLAG = "--lab-only"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabConfig:
    """What is in force for this run; the value of the ``lab_config`` fixture.

    Attributes:
        image: Recipe name or folder.
        drivers: Folders, manifests or ``.sys`` files of the drivers under test.
        beside: Those of the lab file, where ``drivers`` come from elsewhere: ``drivers`` replace them or join them.
        transport: ``winrm``, ``ssh``, or one of a package.
        files: ``media`` (an ISO in the CD drive), or how a transport copies: ``winrm``, ``sftp``.
        boot_timeout: Seconds; None for the image's own figure.
        accelerator: ``auto``, ``kvm`` or ``tcg``.
        debug: ``none`` or ``kd``.
        boot: ``fork`` or ``cold``.
        isolation: ``test``, ``class``, ``module`` or ``session``.
        keep: ``never``, ``failed`` or ``always``.
        crash_dump: ``auto``, ``always`` or ``never``.
        log_level: ``debug``, ``info``, ``warning`` or ``error``.
        on: Name of the guest that is up and that the run takes; empty for forks, or booted guests.
        only: Names of drivers: tests that use none of them are left out; empty for all tests.
        prepared: ``lab run`` has put the run's own drivers into ``out``.
        out: The folder of this run; None lets the run choose one under ``out_root``.
        out_root: The folder that gets one folder for each run.
        known: Known issues of the lab file.
        machine: What the lab file adds to the guests' machine.
        kernel_prints: What the guest's kernel prints by itself, as regular expressions; of the lab file. Those of the image's
            manifest hold beside them.
        file: The lab file, if there is one.
        project: The user's project, see :func:`lab.config.project.user_project`.
        sources: Where each value comes from.
    """

    image: str
    drivers: tuple[str, ...]
    beside: tuple[str, ...]
    transport: str
    files: str
    boot_timeout: float | None
    accelerator: Literal["auto", "kvm", "tcg"]
    debug: Literal["none", "kd"]
    boot: Literal["fork", "cold"]
    isolation: Literal["test", "class", "module", "session"]
    keep: Literal["never", "failed", "always"]
    crash_dump: CrashDump
    log_level: LogLevel
    on: str
    only: tuple[str, ...]
    prepared: bool
    out: Path | None
    out_root: Path
    known: tuple[KnownIssue, ...]
    kernel_prints: tuple[str, ...]
    machine: Machine
    file: Path | None
    project: Path
    sources: dict[str, str]


def add_options(parser: pytest.Parser) -> None:
    """Register the options and their ini twins."""
    group = parser.getgroup("lab", "Windows driver test lab")
    group.addoption(
        _CONFIG_FLAG, dest="lab_config", default=None, metavar="PATH", help="Lab file; default: lab.yaml, if it exists"
    )
    parser.addini("lab_config", "Lab file", default="")
    group.addoption(OUT_FLAG, dest="lab_out", default=None, metavar="DIR", help="Folder of this run's report and evidence")
    prepared = f"{OUT_FLAG} set by `lab run`: the folder that already has the run's own copies of its drivers"
    help_on = "Run on this guest, which is up (`lab ps` lists such guests), instead of forks; one worker"
    group.addoption(ON_FLAG, dest="lab_on", default=None, metavar="NAME", help=help_on)
    help_only = "Only tests that use this driver; may be repeated"
    group.addoption(ONLY_FLAG, dest="lab_only", action="append", default=None, metavar="NAME", help=help_only)
    group.addoption(PREPARED_FLAG, dest="lab_prepared", action="store_true", help=prepared)
    units = "Number of pieces of work, counted by `lab run`"
    group.addoption(UNITS_FLAG, dest="lab_units", type=int, default=0, help=units)
    parser.addini("lab_out", "Folder of this run's report and evidence", default="")
    for option in _OPTIONS:
        arguments: dict[str, Any] = {"dest": option.dest, "default": None, "help": option.help}
        if option.choices:
            arguments["choices"] = option.allowed()
        else:
            arguments["type"] = option.convert
            arguments["metavar"] = "PATH" if option.many else option.dest.rsplit("_", 1)[-1].upper()
        group.addoption(option.flag, action="append" if option.many else "store", **arguments)
        if option.many:
            parser.addini(option.dest, option.help, type="linelist", default=[])
        else:
            parser.addini(option.dest, option.help, default="")


def read_options(config: pytest.Config) -> LabConfig:
    """Merge all layers.

    Raises:
        pytest.UsageError: A value is wrong; the message names the option, variable, or file and line.
    """
    given: dict[str, Any] = {}
    for option in _OPTIONS:
        value = config.getoption(option.dest)
        if value is None and not os.environ.get(variable(option.key)):
            value = _from_ini(config, option)
        given[option.key] = value
    try:
        file = config.getoption("lab_config") or (not os.environ.get("LAB_CONFIG") and config.getini("lab_config")) or None
        # A file that the ini names is relative to the ini; load_settings takes the rest relative to the current folder.
        settings = load_settings(given, config=_path(config, file) or _of_root(config), cwd=config.invocation_params.dir)
    except ConfigError as error:
        raise pytest.UsageError(str(error)) from None
    return _resolve(config, settings)


def _resolve(config: pytest.Config, settings: Settings) -> LabConfig:
    values = settings.values
    out = config.getoption("lab_out") or config.getini("lab_out") or None
    return LabConfig(
        image=values.image,
        drivers=values.drivers,
        beside=settings.beside,
        transport=values.transport,
        files=values.files,
        boot_timeout=values.boot_timeout,
        accelerator=values.accelerator,
        debug=values.debug,
        boot=values.boot,
        isolation=values.isolation,
        keep=values.keep,
        crash_dump=values.crash_dump,
        log_level=values.log_level,
        on=config.getoption("lab_on") or "",
        only=tuple(config.getoption("lab_only") or ()),
        prepared=config.getoption("lab_prepared"),
        out=_path(config, out),
        out_root=config.rootpath / values.out,
        known=values.known,
        kernel_prints=values.kernel_prints,
        machine=values.machine,
        file=settings.file,
        project=settings.project,
        sources=dict(settings.sources),
    )


def _from_ini(config: pytest.Config, option: _Option) -> Any:
    value = config.getini(option.dest)
    if not value:
        return None
    base = config.rootpath if config.inipath is None else config.inipath.parent
    if option.many:
        return [str(base / line) for line in value]
    if option.choices and value not in option.allowed():
        raise pytest.UsageError(f"ini key {option.dest} must be one of {', '.join(option.allowed())}, not {value!r}")
    try:
        return option.convert(value)
    except argparse.ArgumentTypeError as error:
        raise pytest.UsageError(f"ini key {option.dest} {error}") from None


def _of_root(config: pytest.Config) -> Path | None:
    """The lab file of the tests' own project, where pytest was started outside of any; `lab run` has looked already."""
    if os.environ.get("LAB_CONFIG") or config.getoption("lab_prepared") or find_lab_file(config.invocation_params.dir):
        return None
    return find_lab_file(config.rootpath)


def _path(config: pytest.Config, text: str | None) -> Path | None:
    return config.invocation_params.dir / Path(text).expanduser() if text else None
