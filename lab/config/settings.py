"""What holds for one run: the command line wins over the environment, that over the lab file, that over the defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lab.config.model import LabFile
from lab.config.project import find_lab_file, user_project
from lab.config.yamlfile import YamlDocument, plain_words, read_yaml, validate
from lab.errors import ConfigError

#: Keys whose values are lists of paths: several in one environment variable are separated as in PATH.
_PATH_LISTS = ("drivers", "suites")
#: Keys with values that do not fit into a variable.
_FILE_ONLY = ("known", "kernel_prints", "machine")


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
) -> Settings:
    """Merge all layers and check them.

    Args:
        options: Values of command line options by lab file key; None (or an empty list) means not given.
        config: The lab file named on the command line; else ``LAB_CONFIG``, else the ``lab.yaml`` of the
            current folder or the nearest one above it in its repository.
        environ: The environment; the process's own by default. ``LAB_<KEY>`` sets a key.
        cwd: The folder that relative paths of options and environment start from; the current one by default.

    Raises:
        ConfigError: Anything wrong, naming the file and line, the variable or the option.
    """
    environ = os.environ if environ is None else environ
    cwd = Path.cwd() if cwd is None else cwd
    file = _find(config, environ, cwd)
    document = YamlDocument("", {}) if file is None else read_yaml(file)
    from_file = validate(document, LabFile)
    merged: dict[str, Any] = {}
    sources = dict.fromkeys(LabFile.model_fields, "default")
    layers: list[tuple[str, Mapping[str, Any], Path]] = [
        ("lab file", {key: getattr(from_file, key) for key in document.data}, file.parent if file else cwd),
        ("environment", _from_environment(environ), cwd),
        ("option", {key: value for key, value in options.items() if value not in (None, (), [])}, cwd),
    ]
    for source, values, base in layers:
        for key, value in values.items():
            if source != "lab file":
                _check(source, key, value)
            merged[key] = _absolute(key, value, base)
            sources[key] = source
    beside = _absolute("drivers", from_file.drivers, layers[0][2]) if sources["drivers"] in ("environment", "option") else ()
    return Settings(
        values=LabFile.model_validate(merged),
        sources=sources,
        file=file,
        project=user_project(file, cwd=cwd),
        beside=beside,
    )


def variable(key: str) -> str:
    """The environment variable of a key: ``boot_timeout`` -> ``LAB_BOOT_TIMEOUT``."""
    return "LAB_" + key.upper()


def _find(config: Path | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    if config is None and environ.get("LAB_CONFIG"):
        config = Path(environ["LAB_CONFIG"])
    if config is not None:
        return cwd / config
    return find_lab_file(cwd.absolute())


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key in LabFile.model_fields:
        text = environ.get(variable(key), "")
        if not text or key in _FILE_ONLY:
            continue
        values[key] = tuple(part for part in text.split(os.pathsep) if part) if key in _PATH_LISTS else text
    return values


def _check(source: str, key: str, value: Any) -> None:
    name = f"environment variable {variable(key)}" if source == "environment" else "--" + key.replace("_", "-")
    try:
        LabFile.model_validate({key: value})
    except ValidationError as error:
        raise ConfigError(f"{name} {plain_words(error, LabFile)}") from None


def _absolute(key: str, value: Any, base: Path) -> Any:
    if key in _PATH_LISTS:
        return tuple(_one_path(text, base) for text in value)
    if key == "out":
        return str(base / Path(value).expanduser())
    if key == "machine":
        return value.below(base)
    if key == "image" and ("/" in value or value in (".", "..")):
        return _one_path(value, base)
    return value


def _one_path(text: str, base: Path) -> str:
    # A pytest node id (suites/sync/test_x.py::test_y) is a path with an address inside of the file.
    path, separator, inside = text.partition("::")
    return os.path.normpath(base / Path(path).expanduser()) + separator + inside
