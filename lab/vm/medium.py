"""Changes the medium in a VM's CD drive, while the guest runs or before its first instruction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.errors import ConfigError
from lab.vm.protocol import Monitor


def change_medium(qmp: Monitor, media: Path, *, drive: int = 0, timeout: float = 30.0) -> None:
    """Replace the medium in a CD drive by an ISO; returns when the tray is closed.

    The guest is not asked: a drive that it has locked, because the old medium is mounted, is opened all the same. It
    notices the change a fraction of a second later. While a VM still waits for its state (``inmigrate``), the guest
    would not notice it: change the medium afterwards.

    Args:
        qmp: The VM's monitor.
        media: The ISO.
        drive: Index of the drive in the VM's spec.
        timeout: Seconds for all of it.

    Raises:
        ConfigError: There is no such file.
        CommandRefused: There is no such drive.
        TransportError: The tray did not close in time.
    """
    if not media.is_file():
        raise ConfigError(f"there is no medium {media}", hint="it must exist while it is in the drive")
    device = f"cd{drive}"
    before = qmp.event_count
    arguments = {"id": device, "filename": str(media.absolute()), "format": "raw", "read-only-mode": "read-only"}
    qmp.execute("blockdev-change-medium", {**arguments, "force": True}, timeout=timeout)
    qmp.wait_event(
        "DEVICE_TRAY_MOVED",
        timeout=timeout,
        after=before,
        where=lambda event: _is(event.data, device) and event.data["tray-open"] is False,
    )


def eject_medium(qmp: Monitor, *, drive: int = 0, timeout: float = 30.0) -> None:
    """Remove the medium from a CD drive, which may be empty. The tray stays open."""
    qmp.execute("eject", {"id": f"cd{drive}", "force": True}, timeout=timeout)


def medium_in(qmp: Monitor, *, drive: int = 0) -> Path | None:
    """The ISO in a CD drive, or None when it is empty or there is no such drive."""
    for block in qmp.execute("query-block"):
        if _is({"id": str(block.get("qdev", ""))}, f"cd{drive}") and "inserted" in block:
            return Path(block["inserted"]["file"])
    return None


def _is(data: Any, device: str) -> bool:
    """Whether ``data`` is the device's name, or its path in QEMU's tree, which ends in that name."""
    return device in str(data.get("id", "")).split("/")
