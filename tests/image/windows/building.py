"""The build command with a stand-in for Setup in a real QEMU: used by tests, and run by them as a process."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lab.host.accel import QEMU
from lab.host.qemumachines import ask_machines, versioned
from lab.image.progress import PlainProgress, Progress
from lab.image.store import build_image
from lab.image.windows import build as build_module
from lab.image.windows.accept import AcceptancePlan, Acceptor, accept
from lab.image.windows.build import BuildOptions, WindowsRecipe
from lab.image.windows.image_record import AcceptanceRecord
from lab.image.windows.inputs import UserInputs
from lab.image.windows.install_watch import Budgets
from lab.image.windows.machine import MACHINE, InstallPlan
from lab.image.windows.recipe import WindowsRecipeFile
from lab.toolchain.build import BuildResult, build_components
from lab.toolchain.compile import Arch
from lab.toolchain.manifest import Component
from lab.toolchain.sign import SigningKey
from lab.vm.machine import VirtualMachine
from lab.vm.spec import VmSpec
from tests.image.windows.guest_double import GuestDouble

EDITION = "Windows 10 Enterprise Evaluation"
#: Short ones; a phase of the stand-in takes about a second, and other work may share the host.
BUDGETS = Budgets(
    total_s=120,
    stall_s=30,
    screenshot_s=1,
    max_resets=10,
    reset_burst_s=0.4,
    min_free_bytes=1 << 20,
    key_after_s=60,
    key_for_s=10,
    key_every_s=0.2,
    poll_s=0.05,
    grace_s=10,
    exit_s=20,
)


def standin_recipe() -> WindowsRecipeFile:
    """Windows 10 with a BIOS: the stand-in is a BIOS program."""
    return WindowsRecipeFile.model_validate(
        {
            "name": "windows-10",
            "windows": "10",
            "title": "stand-in for Windows 10",
            "editions": [EDITION],
            "machine": {"firmware": "bios", "disk_gb": 32, "memory_mb": 2048, "vcpus": 1},
            "capabilities": ["nt_kernel", "winrm", "dbgprint"],
            "evaluation_days": 90,
        }
    )


def small(plan: InstallPlan) -> InstallPlan:
    """The recipe with the sizes of the stand-in instead of those of Windows."""
    return replace(plan, disk_gb=1, memory_mb=64)


class StandinAcceptance:
    """Boots the stand-in's finished disk in a real QEMU, and answers in its place: the stand-in has no WinRM.

    Args:
        guest: What it answers.
        memory_mb: RAM in MiB, instead of what Windows needs.
        up: What the stand-in writes on its console when it is up.
    """

    def __init__(self, guest: GuestDouble | None = None, *, memory_mb: int = 64, up: str = "the stand-in is up") -> None:
        self.guest = guest or GuestDouble()
        self._memory_mb = memory_mb
        self._up = up
        self.guest.on_shutdown = self._power_off
        self.guest.ready = self._is_up
        self.machine: VirtualMachine | None = None

    def __call__(self, plan: AcceptancePlan, progress: Progress) -> AcceptanceRecord:
        plan = replace(plan, manifest=plan.manifest.model_copy(update={"boot_timeout_s": 120.0}))
        acceptor: Any = partial(
            accept, connect=lambda _port, _credentials: self._entered(), open_machine=self._open, shutdown_s=30, gap_s=0.2
        )
        record: AcceptanceRecord = acceptor(plan, progress)
        return record

    def _open(self, spec: VmSpec, folder: Path) -> VirtualMachine:
        self.machine = VirtualMachine(replace(spec, memory_mb=self._memory_mb), folder)
        return self.machine

    def _entered(self) -> GuestDouble:
        return self.guest

    def _is_up(self) -> bool:
        assert self.machine is not None
        return self._up in self.machine.console_tail()

    def _power_off(self) -> None:
        assert self.machine is not None
        self.machine.qmp.execute("send-key", {"keys": [{"type": "qcode", "data": "ret"}]})


def build(
    iso: Path,
    cache: Path,
    logs: Path,
    *,
    progress: Progress,
    recipe: WindowsRecipeFile | None = None,
    acceptor: Acceptor | None = None,
    given: UserInputs | None = None,
    **changes: Any,
) -> tuple[Path, bool]:
    """What `lab image build` does once it has read its options."""
    options = BuildOptions(
        accelerator="tcg",
        log_dir=logs,
        budgets=BUDGETS,
        machine=versioned(MACHINE, ask_machines(QEMU)),
        tune=small,
        acceptor=acceptor or StandinAcceptance(),
    )
    options = replace(options, **changes)
    windows = WindowsRecipe(recipe or standin_recipe(), given or UserInputs(iso=iso), options, progress, cache=cache)
    return build_image(windows, progress, cache=cache)


def compiling_once(compiled: Path) -> Callable[[Sequence[Component], Arch, Path, SigningKey | None], list[BuildResult]]:
    """What a build compiles with: the same sources each time, so it finds them compiled, as where it has built before.

    Args:
        compiled: Keeps what the first build has compiled.
    """

    def build_on(components: Sequence[Component], arch: Arch, out: Path, key: SigningKey | None) -> list[BuildResult]:
        kept = compiled / out.name
        if kept.exists():
            shutil.copytree(kept, out, dirs_exist_ok=True)
        results = build_components(components, arch, out, key)
        if not kept.exists():
            shutil.copytree(out, kept)
        return results

    return build_on


def main() -> int:
    """A build as a process that can be interrupted and killed; prints its steps."""
    iso, cache, logs, compiled = (Path(argument) for argument in sys.argv[1:5])
    build_module.build_components = compiling_once(compiled)  # type: ignore[assignment, attr-defined]
    try:
        folder, _built = build(iso, cache, logs, progress=PlainProgress(sys.stdout))
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
