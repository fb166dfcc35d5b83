"""Checks of the host before an installation that takes hours, and the errors of installations."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab.errors import HostToolError, ImageError

_GIB = 1 << 30


class InstallError(ImageError):
    """An installation failed.

    Args:
        message: What happened.
        stage: The guest's last stage line; empty when it never wrote one.
        at_s: Seconds after the start of the VM.
        log_dir: Folder with the logs and screen shots.
        screenshot: The last screen shot; None when there is none.
        console: The guest's last console lines.
        hint: What to try.
    """

    def __init__(
        self,
        message: str,
        *,
        stage: str = "",
        at_s: float = 0.0,
        log_dir: Path | None = None,
        screenshot: Path | None = None,
        console: str = "",
        hint: str = "",
    ) -> None:
        text = f"{message}\n  {at_s:.0f} s after the start; last stage: {stage or 'none'}"
        if screenshot:
            text += f"\n  last screen shot: {screenshot}"
        if log_dir:
            text += f"\n  logs: {log_dir}"
        if console:
            text += "\n  last console lines:\n" + "\n".join("    " + line for line in console.splitlines())
        super().__init__(text, hint=hint)
        self.stage = stage
        self.at_s = at_s
        self.log_dir = log_dir
        self.screenshot = screenshot


class InstallStalled(InstallError):
    """Nothing happened for too long, or the whole took too long."""


class InstallLooped(InstallError):
    """The guest boots again and again."""


class StageFailed(InstallError):
    """The guest reported that a stage failed."""


class InstallEnded(InstallError):
    """The VM ended before the guest said that it was complete."""


class HostDiskFull(InstallError):
    """The host's disk is full, or fails."""


def require_accelerator(usable_kvm: bool, allow_tcg: bool) -> None:
    """Refuse an installation without KVM, which takes hours, unless the user wants it.

    Args:
        usable_kvm: What :func:`lab.host.accel.probe_accelerators` found.
        allow_tcg: The user said that hours are fine.

    Raises:
        HostToolError: It is refused.
    """
    if not usable_kvm and not allow_tcg:
        raise HostToolError(
            ["kvm"],
            None,
            message="KVM does not work on this host, and without KVM an installation of Windows takes hours",
            hint="`lab doctor` says why KVM does not work; --allow-tcg installs without KVM",
        )


def require_space(folder: Path, min_free: int) -> None:
    """Refuse to begin when the host's disk has too little room for the image's disk.

    Args:
        folder: Folder that the disk will be in; it exists.
        min_free: Bytes that must be free.

    Raises:
        HostDiskFull: Less is free.
    """
    free = shutil.disk_usage(folder).free
    if free < min_free:
        raise HostDiskFull(
            f"{folder} has {free / _GIB:.1f} GiB free, and the installation needs {min_free / _GIB:.1f} GiB",
            hint="free some space, or set another cache folder (`lab doctor` shows the current one)",
        )
