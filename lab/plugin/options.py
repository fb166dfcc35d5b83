"""The plugin's options: command line, environment, pytest ini file, lab file, defaults, in this order."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.config.model import SessionSettings
from lab.config.project import find_lab_file
from lab.config.setting_table import Key, keys_of
from lab.config.settings import Settings, load_settings
from lab.errors import ConfigError

_CONFIG_FLAG = "--lab-config"
OUT_FLAG = "--lab-out"
PREPARED_FLAG = "--lab-prepared"
UNITS_FLAG = "--lab-units"
ON_FLAG = "--lab-on"
ONLY_FLAG = "--lab-only"
REPEAT_FLAG = "--lab-repeat"
UNTIL_RED_FLAG = "--lab-until-red"


class LabConfig(SessionSettings):
    """The options in force for this run; the value of the ``lab_config`` fixture.

    The settings of a lab file are attributes, too.

    Attributes:
        beside: Those of the lab file, where ``drivers`` come from elsewhere: ``drivers`` replace them or join them.
        on: Name of the detached guest that the run uses; empty for forks, or booted guests.
        only: Names of drivers: tests that use none of them are left out; empty for all tests.
        repeat: How often each test is run, each time in a guest of its own.
        until_red: A test that was red is not repeated any more.
        prepared: ``lab run`` has put the run's own drivers into ``out``.
        out: The folder of this run; None lets the run choose one under ``out_root``.
        out_root: The folder that gets one folder for each run.
        file: The lab file, if there is one.
        project: The user's project, see :func:`lab.config.project.user_project`.
        sources: Where each value comes from.
    """

    beside: tuple[str, ...]
    on: str
    only: tuple[str, ...]
    repeat: int = 1
    until_red: bool = False
    prepared: bool
    out: Path | None
    out_root: Path
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
    group.addoption(
        REPEAT_FLAG,
        dest="lab_repeat",
        type=_count,
        default=1,
        metavar="N",
        help="Run each test N times, each time in a fresh guest, and report its pass rate",
    )
    group.addoption(
        UNTIL_RED_FLAG, dest="lab_until_red", action="store_true", help="Do not repeat a test any more that was red"
    )
    group.addoption(PREPARED_FLAG, dest="lab_prepared", action="store_true", help=prepared)
    units = "Number of pieces of work, counted by `lab run`"
    group.addoption(UNITS_FLAG, dest="lab_units", type=int, default=0, help=units)
    parser.addini("lab_out", "Folder of this run's report and evidence", default="")
    for key in _session_keys():
        choices, name = key.choices(), key.pytest_name
        kind: dict[str, Any] = {"choices": choices}
        if not choices:
            kind = {"type": _argument_of(key), "metavar": "PATH" if key.many else name.rsplit("_", 1)[-1].upper()}
        group.addoption(
            key.pytest_flag, dest=name, default=None, help=key.pytest_help, action="append" if key.many else "store", **kind
        )
        if key.many:
            parser.addini(name, key.pytest_help, type="linelist", default=[])
        else:
            parser.addini(name, key.pytest_help, default="")


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a number, at least 1, not {text!r}")
    return int(text)


def _session_keys() -> list[Key]:
    """The settings that are options of pytest."""
    return [key for key in keys_of(SessionSettings) if key.pytest_flag]


def _argument_of(key: Key) -> Callable[[str], Any]:
    """Reads the option's value for argparse, with argparse's error for a wrong one."""

    def parse(text: str) -> Any:
        try:
            return key.parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def read_options(config: pytest.Config) -> LabConfig:
    """Merge all layers.

    Raises:
        pytest.UsageError: A value is wrong; the message names the option, variable, or file and line.
    """
    given: dict[str, Any] = {}
    for key in _session_keys():
        value = config.getoption(key.pytest_name)
        if value is None and not os.environ.get(key.variable):
            value = _from_ini(config, key)
        given[key.name] = value
    try:
        file = config.getoption("lab_config") or (not os.environ.get("LAB_CONFIG") and config.getini("lab_config")) or None
        # A file that the ini names is relative to the ini; load_settings takes the rest relative to the current folder.
        # `lab run`, or the process that started this worker, has read the file before.
        first = not config.getoption("lab_prepared") and not hasattr(config, "workerinput")
        settings = load_settings(
            given, config=_path(config, file) or _of_root(config), cwd=config.invocation_params.dir, note=first
        )
    except ConfigError as error:
        raise pytest.UsageError(str(error)) from None
    return _resolve(config, settings)


def _resolve(config: pytest.Config, settings: Settings) -> LabConfig:
    values = settings.values
    repeat = config.getoption("lab_repeat")
    if repeat > 1:
        # Each run must be independent of the others.
        values = values.model_copy(update={"isolation": "test"})
    out = config.getoption("lab_out") or config.getini("lab_out") or None
    return LabConfig(
        **{name: getattr(values, name) for name in SessionSettings.model_fields},
        beside=settings.beside,
        on=config.getoption("lab_on") or "",
        only=tuple(config.getoption("lab_only") or ()),
        repeat=repeat,
        until_red=config.getoption("lab_until_red"),
        prepared=config.getoption("lab_prepared"),
        out=_path(config, out),
        out_root=config.rootpath / values.out,
        file=settings.file,
        project=settings.project,
        sources=dict(settings.sources),
    )


def _from_ini(config: pytest.Config, key: Key) -> Any:
    name = key.pytest_name
    value = config.getini(name)
    if not value:
        return None
    base = config.rootpath if config.inipath is None else config.inipath.parent
    if key.setting.below:
        return key.setting.below(tuple(value) if key.many else value, base)
    choices = key.choices()
    if choices and value not in choices:
        raise pytest.UsageError(f"ini key {name} must be one of {', '.join(choices)}, not {value!r}")
    try:
        return key.parse(value)
    except ValueError as error:
        raise pytest.UsageError(f"ini key {name} {error}") from None


def _of_root(config: pytest.Config) -> Path | None:
    """The lab file of the tests' project, if pytest was started outside of any; `lab run` has already searched for it."""
    if os.environ.get("LAB_CONFIG") or config.getoption("lab_prepared") or find_lab_file(config.invocation_params.dir):
        return None
    return find_lab_file(config.rootpath)


def _path(config: pytest.Config, text: str | None) -> Path | None:
    return config.invocation_params.dir / Path(text).expanduser() if text else None
