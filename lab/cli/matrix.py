"""``lab run --matrix KEY=VALUE,VALUE``: runs the suites once for each value of a setting, and puts the runs side by side."""

from __future__ import annotations

import datetime
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import typer
from pydantic import ValidationError

from lab.cli.invocation import with_own_command
from lab.cli.resolved import guest_of
from lab.config import Settings
from lab.config.model import LabFile, SessionSettings
from lab.config.setting_table import keys_of
from lab.config.verifier import OFF, profile_named
from lab.config.yamlfile import plain_words
from lab.errors import ConfigError, LabError
from lab.gate.exitcode import INFRA, USAGE
from lab.image.progress import open_progress
from lab.live.verifier import wanted_profile
from lab.report.matrix import Column, matrix_lines, matrix_of, write_matrix
from lab.report.outdir import check_named, timed_folder
from lab.report.runfiles import read_run

_LOG = logging.getLogger(__name__)
_VERIFIER = "verifier"
_SIGNALLED = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The setting in which the runs differ.

    Attributes:
        key: Its name.
        values: What it is in each run, as it was written.
    """

    key: str
    values: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, settings: Settings) -> Self:
        """Read the option.

        Args:
            text: ``verifier=off,standard,lowres``.
            settings: What is in force, for the profiles of the lab file.

        Raises:
            ConfigError: It has another form, or the setting cannot have such a value.
        """
        name, equals, rest = text.partition("=")
        key = name.strip().replace("-", "_")
        values = tuple(value.strip() for value in rest.split(","))
        known = {one.name for one in keys_of(SessionSettings) if "run" in one.commands and not one.many}
        example = f"--matrix {_VERIFIER}=off,standard,lowres"
        if key not in known:
            raise ConfigError(f"--matrix {text}: there is no setting {key!r} that runs can differ in", hint=example)
        if not equals or len(set(values)) < 2 or len(set(values)) < len(values) or not all(values):
            raise ConfigError(f"--matrix {text}: needs at least two different values, with a comma between them", hint=example)
        for value in values:
            try:
                LabFile.model_validate({key: value})
            except ValidationError as error:
                raise ConfigError(f"--matrix {text}: {value!r}: {plain_words(error, LabFile)}") from None
            if key == _VERIFIER:
                profile_named(value, settings.values.verifier_profiles)
        return cls(key=key, values=values)

    def settings(self, settings: Settings, value: str) -> Settings:
        """The settings of one of the runs."""
        checked = getattr(LabFile.model_validate({self.key: value}), self.key)
        values = settings.values.model_copy(update={self.key: checked})
        return replace(settings, values=values, sources={**settings.sources, self.key: "option"})


def run_matrix(settings: Settings, text: str, run: Callable[[Settings, Path], int], *, out: Path | None) -> int:
    """Run the suites once for each value.

    Args:
        settings: What is in force.
        text: The option's value.
        run: Runs the suites with these settings into this folder; returns the exit code.
        out: Folder of the matrix; None: one that is named by the time.

    Returns:
        The exit code: the gravest of all runs.

    Raises:
        ConfigError: The option is wrong, or the guests have no Driver Verifier.
        LabError: The first run could not begin. A later one that cannot is a column without a report, and the last.
    """
    axis = Axis.parse(text, settings)
    if out is not None:
        check_named(out)
    if axis.key == _VERIFIER and set(axis.values) != {OFF}:
        _check_guest(settings, axis)
    now = datetime.datetime.now(tz=datetime.UTC)
    folder = timed_folder(settings.project / settings.values.out, now, prefix="matrix-") if out is None else out
    folder = folder.absolute()
    columns: list[Column] = []
    for value in axis.values:
        typer.echo(f"\nlab: {axis.key}={value} ({len(columns) + 1} of {len(axis.values)})", err=True)
        place = folder / re.sub(r"[^\w.-]", "_", f"{axis.key}-{value}")
        try:
            code = run(axis.settings(settings, value), place)
        except LabError as error:
            if all(column.report is None for column in columns):
                raise  # there is nothing to put side by side
            _LOG.debug("the run with %s=%s failed", axis.key, value, exc_info=True)
            typer.echo(with_own_command(f"lab: {axis.key}={value}: {error}"), err=True)
            code = USAGE if isinstance(error, ConfigError) else INFRA
            columns.append(Column(value=value, folder=place, code=code, report=None))
            break
        columns.append(Column(value=value, folder=place, code=code, report=read_run(place) if place.exists() else None))
        if code == USAGE or code >= _SIGNALLED:
            break  # the others would end in the same way, or the user wants an end
    matrix = matrix_of(axis.key, columns, folder=folder)
    if all(column.report is None for column in columns):
        if out is None and not any(folder.iterdir()):
            folder.rmdir()
        return matrix.exit_code
    table = write_matrix(folder, matrix)
    typer.echo("\n" + "\n".join(matrix_lines(matrix)) + f"\n\nside by side: {table}")
    return matrix.exit_code


def _check_guest(settings: Settings, axis: Axis) -> None:
    """Refuse guests without Driver Verifier now, not after the first run."""
    values = settings.values
    with open_progress() as progress:
        manifest = guest_of(settings, progress, debug=values.debug).manifest
    for value in axis.values:
        wanted_profile(value, values.verifier_profiles, manifest, file=settings.file)
