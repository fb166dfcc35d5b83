"""Drives an installation of Windows in a VM from its start to the guest's own power-off.

Example::

    result = install(plan, log_dir, progress=progress)   # hours under TCG, a quarter of an hour with KVM
    ...                                                  # boot an overlay of result.disk, check the guest
    publish_disk(result)                                 # <disk>.partial becomes <disk>

The log folder keeps, also when the installation fails: ``install.jsonl`` (every event), ``screen-….png``, the serial
ports' logs, and QEMU's command and messages.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.errors import ImageError
from lab.host.process import run
from lab.image.progress import Progress
from lab.image.windows.install_events import EventLog, InstallEvent
from lab.image.windows.install_follow import InstallFollower
from lab.image.windows.install_host import require_space
from lab.image.windows.install_watch import Budgets
from lab.image.windows.machine import InstallPlan, install_machine, missing_media
from lab.vm.argv import VARS_FILE
from lab.vm.machine import VirtualMachine
from lab.vm.protocol import StartableMachine
from lab.vm.spec import VmSpec

_CREATE_S = 60.0


@dataclass(frozen=True, slots=True)
class InstallResult:
    """A successful installation.

    Attributes:
        plan: What was installed.
        disk: The disk, still under its partial name.
        firmware_vars: The UEFI variable store that Setup wrote to; None with BIOS.
        log_dir: Folder of the logs.
        events: What happened, oldest first.
        resets: How often the guest restarted the VM.
        duration_s: Seconds from start to power-off.
    """

    plan: InstallPlan
    disk: Path
    firmware_vars: Path | None
    log_dir: Path
    events: tuple[InstallEvent, ...]
    resets: int
    duration_s: float


def install(
    plan: InstallPlan,
    run_dir: Path,
    *,
    progress: Progress,
    budgets: Budgets | None = None,
    keep_failed: bool = False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    open_machine: Callable[[VmSpec, Path], StartableMachine] = VirtualMachine,
) -> InstallResult:
    """Install, and return when the guest has powered itself off and said that it is complete.

    On an error, and on Ctrl-C, the disk is removed and the VM is gone; the log folder stays.

    Args:
        plan: What to install.
        run_dir: Folder of the logs; it is made when it is missing, and must not be the folder of the disk.
        progress: Gets a line for each step.
        budgets: Time limits.
        keep_failed: Keep the disk of a failed installation as ``<disk>.failed``.
        clock: Seconds, monotonic.
        sleep: Waits between two looks.
        open_machine: Makes the VM of a spec and a run folder.

    Raises:
        InstallError: It failed; the class says how, and the message names stage, time, logs and last screen shot.
        ImageError: A CD or the firmware is missing.
        ConfigError: The firmware has Secure Boot on.
        HostToolError: QEMU or qemu-img could not be run.
    """
    limits = budgets or Budgets()
    if missing := missing_media(plan):
        raise ImageError(f"there is no file {', '.join(map(str, missing))}", hint="check the paths of the image's ISO files")
    spec = install_machine(plan)
    require_space(plan.disk.absolute().parent, limits.min_free_bytes)
    run_dir.mkdir(parents=True, exist_ok=True)
    disk = plan.partial_disk
    good = False
    try:
        progress.stage("make the disk")
        disk.unlink(missing_ok=True)
        run(["qemu-img", "create", "-q", "-f", "qcow2", disk, f"{plan.disk_gb}G"], _CREATE_S)
        with EventLog(run_dir) as log, contextlib.closing(open_machine(spec, run_dir)) as machine:
            follower = InstallFollower(machine, run_dir.absolute(), log, limits, progress, clock, sleep)
            follower.run()
            good = True
            return InstallResult(
                plan=plan,
                disk=disk,
                firmware_vars=run_dir.absolute() / VARS_FILE if plan.firmware else None,
                log_dir=run_dir.absolute(),
                events=tuple(log.events),
                resets=follower.watch.resets,
                duration_s=log.events[-1].at_s,
            )
    finally:
        # Also for KeyboardInterrupt; the VM is closed by now, and no longer writes to it.
        if not good and keep_failed and disk.exists():
            disk.replace(plan.disk.absolute().with_name(plan.disk.name + ".failed"))
        elif not good:
            disk.unlink(missing_ok=True)


def publish_disk(result: InstallResult) -> Path:
    """Give a disk that passed its checks its final name; returns that name."""
    target = result.plan.disk.absolute()
    result.disk.replace(target)
    return target
