"""A pytest plugin that replaces the lab's guests by simulated ones with a debugger port: ``-p tests.kdguest.plugin``.

``KDGUEST_KIND`` chooses them: ``boots`` (the default) or ``forks``.
"""

from __future__ import annotations

import os
from pathlib import Path

from lab.lease.protocol import GuestSource
from tests.kdguest.forks import forked_source
from tests.kdguest.guest import KdGuestSource

FOLDER_VARIABLE = "KDGUEST_FOLDER"
KIND_VARIABLE = "KDGUEST_KIND"


def pytest_lab_guest_source(config: object, lab_config: object) -> GuestSource:
    del config, lab_config
    folder = Path(os.environ[FOLDER_VARIABLE])
    booted = KdGuestSource(folder)
    return forked_source(folder, booted.payload) if os.environ.get(KIND_VARIABLE) == "forks" else booted
