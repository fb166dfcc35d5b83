"""The plugin's own hook: replace the guests, for example by simulated ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lab.lease.protocol import GuestSource
    from lab.plugin.options import LabConfig


@pytest.hookspec(firstresult=True)
def pytest_lab_guest_source(config: pytest.Config, lab_config: LabConfig) -> GuestSource | None:
    """Return where the guests of this process come from; None leaves it to the lab.

    What the kernel of such guests prints by itself is named by the source's manifest (``prints.kernel_prints``); the patterns
    of the lab file (``lab_config.kernel_prints``) hold beside them, and need not be looked at here.

    Drivers and clients for the source's payload come from :func:`lab.toolchain.select.resolve_drivers`; without ``into``, their
    copies live as long as this process.

    Args:
        config: pytest's configuration.
        lab_config: The lab's options in force.
    """
