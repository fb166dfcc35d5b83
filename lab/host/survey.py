"""Everything that the lab needs to know about its host, in one value: what `lab doctor` shows."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.errors import HostToolError
from lab.host import assets, capacity, paths, tools
from lab.host.accel import QEMU, Accelerators, probe_accelerators
from lab.host.qemu import QemuFeatures, probe_features

#: The free guest's RAM in MiB, for the number of guests; an image's manifest says the real value.
_TYPICAL_GUEST_MB = 768


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the lab: where it is, and how much room its disk has."""

    path: Path
    free_mb: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found.

    Attributes:
        tools: All tools that this user needs.
        accelerators: Which of them work.
        features: What QEMU can do; None when there is no QEMU to ask.
        capacity: Cores and memory.
        folders: The lab's folders by name.
        missing_data: What of the lab's own data its installation lacks, see :mod:`lab.host.assets`.
    """

    tools: tuple[tools.ToolState, ...]
    accelerators: Accelerators
    features: QemuFeatures | None
    capacity: capacity.Capacity
    folders: Mapping[str, Folder]
    missing_data: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps the free guest from running on this host, one sentence each."""
        found = [
            f"{state.tool.name}: {state.problem} (needed to {state.tool.purpose})"
            for state in self.tools
            if state.tool.required and not state.ok
        ]
        if self.missing_data:
            found.append(f"this installation of the lab lacks {', '.join(self.missing_data)}: {assets.REINSTALL}")
        if self.accelerators.best is None:
            found.append(f"no accelerator works: tcg: {self.accelerators.tcg.reason}; kvm: {self.accelerators.kvm.reason}")
        return tuple(found)

    @property
    def install(self) -> str:
        """The one command that installs what is missing and required; empty when nothing is."""
        return tools.install_command([state.tool for state in self.tools if state.tool.required and not state.ok])

    @property
    def ok(self) -> bool:
        """The free guest can be built and run here."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """The survey as plain values, for JSON."""
        accelerators = {
            item.name: {"usable": item.usable, "reason": item.reason, "seconds": item.seconds}
            for item in (self.accelerators.kvm, self.accelerators.tcg)
        }
        tool_states = {
            state.tool.name: {
                "ok": state.ok,
                "version": state.version,
                "path": state.path,
                "purpose": state.tool.purpose,
                "required": state.tool.required,
                "package": state.tool.package,
                "problem": state.problem,
                "hint": state.hint,
            }
            for state in self.tools
        }
        guests, forks = self.capacity.guests(_TYPICAL_GUEST_MB), self.capacity.forks(_TYPICAL_GUEST_MB)
        return {
            "ok": self.ok,
            "problems": list(self.problems),
            "install": self.install,
            "accelerators": accelerators,
            "best_accelerator": self.accelerators.best,
            "tools": tool_states,
            "qemu": {"features": asdict(self.features) if self.features else None},
            "capacity": {**asdict(self.capacity), "guests": guests, "forks": forks, "guest_memory_mb": _TYPICAL_GUEST_MB},
            "data": {"ok": not self.missing_data, "missing": list(self.missing_data)},
            "folders": {name: {"path": str(item.path), "free_mb": item.free_mb} for name, item in self.folders.items()},
        }


def survey(*, reprobe: bool = False) -> Survey:
    """Examine this host: some 2 s, and up to 10 s more where KVM hangs and was not probed since the last boot.

    Args:
        reprobe: Probe the accelerators again.
    """
    cache = paths.cache_dir()
    with ThreadPoolExecutor(max_workers=4) as pool:
        states = tuple(pool.map(tools.inspect, tools.needed()))
    try:
        features = probe_features(QEMU)
    except HostToolError:
        features = None  # the tool's own line says what is wrong with it
    folders = {"cache": cache, "data": paths.data_dir(), "state": paths.state_dir()}
    return Survey(
        tools=states,
        accelerators=probe_accelerators(cache, reprobe=reprobe),
        features=features,
        capacity=capacity.measure(),
        missing_data=assets.missing(),
        folders={name: Folder(path, shutil.disk_usage(path).free >> 20) for name, path in folders.items()},
    )
