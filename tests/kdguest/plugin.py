"""A pytest plugin that replaces the lab's guests by simulated ones with a debugger port: ``-p tests.kdguest.plugin``.

``KDGUEST_KIND`` chooses them: ``boots`` (the default), ``forks`` of a model, or ``metal``: forks of the bare-metal target.
"""

from __future__ import annotations

import os
from pathlib import Path

from lab.lease.protocol import GuestSource
from tests.kdguest.forks import forked_source
from tests.kdguest.guest import KdGuestSource
from tests.kdguest.metal import metal_source

FOLDER_VARIABLE = "KDGUEST_FOLDER"
KIND_VARIABLE = "KDGUEST_KIND"


def pytest_lab_guest_source(config: object, lab_config: object) -> GuestSource:
    del config, lab_config
    folder = Path(os.environ[FOLDER_VARIABLE])
    booted = KdGuestSource(folder)
    match os.environ.get(KIND_VARIABLE, "boots"):
        case "forks":
            return forked_source(folder, booted.payload)
        case "metal":
            return metal_source(folder, folder / "image", booted.payload)
    return booted
