"""Where the lab keeps its files. Functions, not constants: the environment may change between two calls."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from lab.errors import ConfigError

APP_NAME = "driver-test-lab"


def cache_dir() -> Path:
    """Files that can be made again: images, templates, built drivers, probe results. ``LAB_CACHE`` overrides."""
    return _folder("LAB_CACHE", "cache", platformdirs.user_cache_path(APP_NAME))


def data_dir() -> Path:
    """Files of the user that must be kept: the lab's signing key and certificate. ``LAB_DATA`` overrides."""
    return _folder("LAB_DATA", "data", platformdirs.user_data_path(APP_NAME))


def state_dir() -> Path:
    """Files of running and past sessions: run folders, detached guests. ``LAB_STATE`` overrides."""
    return _folder("LAB_STATE", "state", platformdirs.user_state_path(APP_NAME))


def runs_dir() -> Path:
    """Where run folders are made; see :mod:`lab.vm.cleanup`."""
    return state_dir() / "runs"


def templates_dir() -> Path:
    """Templates; see :mod:`lab.snapshot.store`."""
    return cache_dir() / "templates"


def make_folder(folder: Path, what: str, *, hint: str) -> Path:
    """The folder, made if it is missing, private to the user.

    Args:
        folder: The folder.
        what: What it is, for the message.
        hint: How to have another one.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the {what} folder {folder} cannot be made: {error.strerror}", hint=hint) from None
    return folder


def _folder(variable: str, what: str, default: Path) -> Path:
    value = os.environ.get(variable)
    folder = Path(value).expanduser().absolute() if value else default
    return make_folder(folder, what, hint=f"set {variable} to a folder of yours")
