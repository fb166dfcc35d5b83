"""Build hook of the wheel: the lab's own data go in below ``lab/_data``, where lab/host/assets.py finds them.

Not as `force-include` in pyproject.toml: hatchling also copies such files into editable installations, where they would become
outdated.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: What an installed lab needs. The two drivers of this repository and their clients are examples, and stay here.
DATA = (
    "ci/packages.txt",
    "ci/pipelines/own",
    "vm-images",
    "docs",
    "driver/README.md",
    "driver/clients/drvprobe",
    "driver/clients/drvprobe.driver.yaml",
    "driver/common",
    "driver/coverage",
    "driver/modlist",
    "driver/selftest",
    "driver/relay",
    "driver/wine-compat",
)


class WheelData(BuildHookInterface):
    """Called by hatchling before it builds a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files.

        Args:
            version: ``standard`` or ``editable``.
            build_data: Filled in for hatchling.
        """
        if version == "standard":
            build_data["force_include"] |= {f"{self.root}/{name}": f"lab/_data/{name}" for name in DATA}
