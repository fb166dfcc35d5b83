"""Checks a guest's VM before a template of it is made: can it be forked at all, and would a snapshot hold all of its state?

Otherwise a boot would be lost on it, of minutes with Windows, and the reason would be QEMU's, or none: see
:mod:`lab.vm.obstacles` and :mod:`lab.vm.trial`.
"""

from __future__ import annotations

from pathlib import Path

from lab.errors import SnapshotFailed
from lab.host.qemu import QemuFeatures
from lab.live.machine_spec import machine_spec
from lab.snapshot.template import TemplateWish
from lab.vm.obstacles import find_obstacles
from lab.vm.trial import try_machine


def check_machine(wish: TemplateWish, run_dir: Path, /, *, features: QemuFeatures) -> None:
    """Check the VM of a template that is to be booted; QEMU runs for some 0.3 s, without a guest.

    Args:
        wish: The requested template.
        run_dir: A folder for the trial; made if it is missing.
        features: What QEMU can do.

    Raises:
        SnapshotFailed: Its forks would lack something; the message says what and, where that is known, what to change.
        GuestExited: QEMU refuses the VM.
        HostToolError: QEMU could not be started.
        ImageError: A file of the image is missing.
    """
    spec = machine_spec(
        wish.manifest,
        wish.image_dir,
        name="trial",
        accelerator=wish.accelerator,
        smp=wish.smp,
        clock=wish.clock,
        hardware=wish.hardware,
    )
    reasons = [str(obstacle) for obstacle in find_obstacles(spec)]
    reasons = reasons or [str(loss) for loss in try_machine(spec, run_dir, features=features)]
    if reasons:
        raise SnapshotFailed(f"guests of {wish.manifest.name} cannot be forked: {'; '.join(reasons)}")
