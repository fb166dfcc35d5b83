"""Where the plugin keeps its objects in pytest's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.plugin.options import LabConfig, read_options

if TYPE_CHECKING:
    from lab.plugin.session import LabSession

OPTIONS = pytest.StashKey[LabConfig]()
SESSION: pytest.StashKey[LabSession] = pytest.StashKey()
#: Folder of the run: chosen once, by the controller under xdist.
OUT = pytest.StashKey[Path]()


def options_of(config: pytest.Config) -> LabConfig:
    """The options in force; read at the first call.

    Raises:
        pytest.UsageError: A value is wrong.
    """
    if OPTIONS not in config.stash:
        config.stash[OPTIONS] = read_options(config)
    return config.stash[OPTIONS]
