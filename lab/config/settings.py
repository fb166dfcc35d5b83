"""The settings of one run: the command line takes precedence over the environment, then the lab file, then the defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lab.config.labfile import read_lab_file
from lab.config.model import LabFile
from lab.config.project import find_lab_file, user_project
from lab.config.setting_table import Key, keys_of, paths_below
from lab.config.yamlfile import YamlDocument, plain_words, validate
from lab.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The values in force, and where each one comes from.

    Attributes:
        values: All keys of a lab file; paths are absolute, or as given where they may be names (``image``).
        sources: Key -> ``option``, ``environment``, ``lab file`` or ``default``.
        file: The lab file that was read, or None.
        project: The user's project, see :func:`lab.config.project.user_project`.
        beside: Drivers of the lab file, where the command line or the environment names others: those replace them, name by
            name, or join them.
    """

    values: LabFile
    sources: Mapping[str, str]
    file: Path | None
    project: Path
    beside: tuple[str, ...] = ()


def load_settings(
    options: Mapping[str, Any],
    *,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    note: bool = True,
) -> Settings:
    """Merge all layers and check them.

    Args:
        options: Values of command line options by lab file key; None (or an empty list) means not given.
        config: The lab file named on the command line; else ``LAB_CONFIG``, else the ``lab.yaml`` of the
            current folder or the nearest one above it in its repository.
        environ: The environment; the process's own by default. ``LAB_<KEY>`` sets a key.
        cwd: The folder that relative paths of options and environment start from; the current one by default.
        note: Write a line to standard error for each old name in the lab file; False where another process has done that.

    Raises:
        ConfigError: Anything wrong, naming the file and line, the variable or the option.
    """
    environ = os.environ if environ is None else environ
    cwd = Path.cwd() if cwd is None else cwd
    file = _find(config, environ, cwd)
    document = YamlDocument("", {}) if file is None else read_lab_file(file, note=note)
    from_file = validate(document, LabFile)
    merged: dict[str, Any] = {}
    sources = dict.fromkeys(LabFile.model_fields, "default")
    layers: list[tuple[str, Mapping[str, Any], Path]] = [
        ("lab file", {key: getattr(from_file, key) for key in document.data}, file.parent if file else cwd),
        ("environment", _from_environment(environ), cwd),
        ("option", {key: value for key, value in options.items() if value not in (None, (), [])}, cwd),
    ]
    keys = {key.name: key for key in keys_of(LabFile)}
    for source, values, base in layers:
        for name, value in values.items():
            if source != "lab file":
                _check(source, keys[name], value)
            below = keys[name].setting.below
            merged[name] = below(value, base) if below else value
            sources[name] = source
    named = sources["drivers"] in ("environment", "option")
    beside = paths_below(from_file.drivers, layers[0][2]) if named else ()
    return Settings(
        values=LabFile.model_validate(merged),
        sources=sources,
        file=file,
        project=user_project(file, cwd=cwd),
        beside=beside,
    )


def _find(config: Path | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    if config is None and environ.get("LAB_CONFIG"):
        config = Path(environ["LAB_CONFIG"])
    if config is not None:
        return cwd / config
    return find_lab_file(cwd.absolute())


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    return {
        key.name: key.from_environment(text)
        for key in keys_of(LabFile)
        if key.variable and (text := environ.get(key.variable, ""))
    }


def _check(source: str, key: Key, value: Any) -> None:
    name = f"environment variable {key.variable}" if source == "environment" else "--" + key.name.replace("_", "-")
    try:
        LabFile.model_validate({key.name: value})
    except ValidationError as error:
        raise ConfigError(f"{name} {plain_words(error, LabFile)}") from None
