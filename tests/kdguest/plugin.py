"""A pytest plugin that replaces the lab's guests by simulated ones with a debugger port: ``-p tests.kdguest.plugin``."""

from __future__ import annotations

import os
from pathlib import Path

from tests.kdguest.guest import KdGuestSource

FOLDER_VARIABLE = "KDGUEST_FOLDER"


def pytest_lab_guest_source(config: object, lab_config: object) -> KdGuestSource:
    del config, lab_config
    return KdGuestSource(Path(os.environ[FOLDER_VARIABLE]))
