"""A dump of a guest's memory, taken by QEMU: it needs nothing from the guest, so it works on one that hangs."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lab.errors import ConfigError, TransportError
from lab.host.passed import passed_over
from lab.vm.protocol import Machine, Monitor
from lab.vm.qmp import CommandRefused

_LOG = logging.getLogger(__name__)

DumpFormat = Literal["win-dmp", "elf"]
_RUNNING, _DUMPING = "running", "save-vm"
#: Longest time of QEMU's clean-up after the dump of a paused VM.
_CLEANUP_S = 0.3
#: Free space that a dump leaves on its disk: the run goes on, and its report must be written.
_SPARE_BYTES = 64 << 20
#: File name extension and first bytes of each format.
_FORMATS: Mapping[DumpFormat, tuple[str, bytes]] = {"win-dmp": (".dmp", b"PAGE"), "elf": (".elf", b"\x7fELF")}


@dataclass(frozen=True, slots=True)
class HostDump:
    """A finished dump.

    Attributes:
        path: The file.
        format: ``win-dmp``: a Windows debugger opens it. ``elf``: ``elf2dmp`` converts it.
        size: Bytes.
        refused: The formats that were tried before, each with the reason why it failed.
    """

    path: Path
    format: DumpFormat
    size: int
    refused: tuple[str, ...] = ()


class _Unfinished(TransportError):
    """The dump still runs at the deadline; QEMU accepts no second one until it is done."""


def dump_guest(
    machine: Machine,
    target: Path,
    *,
    formats: Sequence[DumpFormat] = ("win-dmp", "elf"),
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
) -> HostDump:
    """Write a guest's memory to a file, in the first format that works.

    The format ``win-dmp`` works when the VM has a ``vmcoreinfo`` device and Windows the fwcfg driver of virtio-win.
    The guest is paused meanwhile.

    Args:
        machine: The VM.
        target: The file without its extension, which the format decides: ``.dmp`` or ``.elf``. Its folder is made.
        formats: What to try, in order.
        timeout: Seconds for all of it.
        clock: Monotonic clock in seconds.

    Raises:
        ConfigError: The file exists already, its folder cannot be made, or there is no format to try.
        TransportError: No format worked, time ran out, or the disk has no room; with the reasons. No file is left.
        GuestExited: QEMU ended. No file is left.
    """
    if not formats:
        raise ConfigError("no dump format was given", hint="use win-dmp or elf")
    deadline = clock() + timeout
    refused: list[str] = []
    for name in formats:
        extension, magic = _FORMATS[name]
        path = target.absolute().with_name(target.name + extension)
        _make_room(path)
        _need_space(machine.qmp, path.parent)
        try:
            size = _dump(machine.qmp, path, name, magic, deadline, clock)
        except BaseException as error:
            with passed_over(_LOG, f"{path.name} stays, although it is not a complete dump", OSError):
                path.unlink(missing_ok=True)
            if not isinstance(error, TransportError) or isinstance(error, _Unfinished):
                raise
            refused.append(f"{name}: {error.message}")
            continue
        return HostDump(path, name, size, tuple(refused))
    raise TransportError(f"the guest's memory could not be dumped: {'; '.join(refused)}")


def _make_room(path: Path) -> None:
    """Refuse a file that exists: QEMU would overwrite it."""
    try:
        there = path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"no dump can be written here: {error.strerror}", file=str(path)) from None
    if there:
        raise ConfigError("the file exists already", file=str(path), hint="give each dump a name of its own")


def _need_space(qmp: Monitor, folder: Path) -> None:
    """Refuse a dump that would fill the disk: it is about as large as the guest's memory."""
    try:
        memory = int(qmp.execute("query-memory-size-summary")["base-memory"])
    except (CommandRefused, LookupError, TypeError, ValueError):
        return  # the dump itself will show it
    free = shutil.disk_usage(folder).free
    if free < memory + _SPARE_BYTES:
        raise TransportError(
            f"the guest's {memory >> 20} MB of memory do not fit into {folder}, where {free >> 20} MB are free",
            hint="free some space, or choose another folder with --out",
        )


def _dump(qmp: Monitor, path: Path, name: DumpFormat, magic: bytes, deadline: float, clock: Callable[[], float]) -> int:
    """Write one dump and check it; returns its size."""

    def left() -> float:
        seconds = deadline - clock()
        if seconds <= 0:
            raise TransportError("no time was left")
        return seconds

    before = qmp.event_count
    status = _status(qmp)
    # Detached: the command answers at once, so that a long dump does not block the monitor.
    arguments = {"paging": False, "protocol": f"file:{path}", "format": name, "detach": True}
    qmp.execute("dump-guest-memory", arguments, timeout=min(30.0, left()))
    try:
        event = qmp.wait_event("DUMP_COMPLETED", timeout=left(), after=before)
    except TransportError as error:
        raise _Unfinished(
            f"the dump as {name} was not finished in time, so its file was removed: {error}",
            hint="allow more time, or give the guest less memory",
        ) from None
    _settle(qmp, status, deadline, clock)
    result = event.data.get("result", {})
    if reason := event.data.get("error"):
        raise TransportError(str(reason))
    if result.get("status") != "completed":
        raise TransportError(f"QEMU reports the status {result.get('status')}")
    return _check(path, magic, int(result.get("completed", 0)))


def _status(qmp: Monitor) -> str:
    """QEMU's run state; empty when it does not answer."""
    return str((qmp.execute("query-status") or {}).get("status", ""))


def _settle(qmp: Monitor, status: str, deadline: float, clock: Callable[[], float]) -> None:
    """Wait until QEMU has cleaned up after a dump: it reports the end earlier, and a dump that begins before is damaged.

    Seen with QEMU 7.2: a running VM runs again at the end of the clean-up; for a paused one the end is not visible.

    Args:
        qmp: The monitor.
        status: The run state before the dump.
        deadline: Of the whole dump.
        clock: Monotonic clock in seconds.
    """
    begin = clock()
    while clock() < deadline:
        now = _status(qmp)
        if now != _DUMPING and (status in ("", _RUNNING) or clock() - begin >= _CLEANUP_S):
            return
        time.sleep(0.01)


def _check(path: Path, magic: bytes, least: int) -> int:
    """Check that the file is a complete dump; returns its size."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(len(magic))
    except OSError as error:
        raise TransportError(f"QEMU reports that it was written, but it cannot be read: {error.strerror}") from None
    if start != magic:
        raise TransportError(f"the file does not begin like a dump, it begins with {start.hex(' ') or 'nothing'}")
    if size < least:
        raise TransportError(f"the file has {size} bytes instead of {least} or more; is the disk full?")
    return size
