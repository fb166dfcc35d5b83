"""Save a running VM in files (a snapshot), and start any number of forks from them.

A snapshot is a folder::

    snapshot.json   the spec, the method, size and time of each file
    ram             the guest's RAM (method ``shared``), sparse; forks map it privately and share its pages
    state           what QEMU's migration stream holds: device state, and with method ``stream`` the RAM too
    base0.qcow2     the first disk as it was; forks write to overlays of their own
    blank0.qcow2    an empty overlay of it, to be copied: qemu-img takes 20 ms to make one, a copy takes none
    vars.fd         UEFI variables, where the VM has firmware

Method ``shared`` leaves RAM out of the stream (QEMU's capability ``x-ignore-shared``), so that a fork takes the same
10 ms whatever the RAM's size. Where QEMU lacks it, method ``stream`` is used, which takes longer.

Until its snapshot is taken, a VM has its RAM in a memory file without a name (:mod:`lab.vm.ramfile`). No one can start
that VM again afterwards, nothing is left of it when its builder is killed, and the RAM file of the folder is a copy that
no QEMU ever had open for sharing. The copy lies on the cache's disk, not on tmpfs: it survives a reboot, and forks read it
through the page cache, which was measured to be as quick and which the kernel can drop when memory is short.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from lab.errors import SnapshotFailed
from lab.host.passed import passed_over
from lab.host.qemu import QemuFeatures
from lab.vm.argv import VARS_FILE, overlay_name, serial_name
from lab.vm.disk import create_overlay
from lab.vm.machine import CONSOLE_BEFORE_FILE, VirtualMachine
from lab.vm.process import WaitingSupervisor
from lab.vm.protocol import Machine
from lab.vm.ramfile import RamFile
from lab.vm.spec import Disk, MemoryFile, VmSpec
from lab.vm.statefile import Method, StateBy, choose_method, read_state, write_state

_LOG = logging.getLogger(__name__)

SNAPSHOT_FILE = "snapshot.json"
RAM_FILE = "ram"
STATE_FILE = "state"


def base_name(index: int) -> str:
    """File of disk ``index``; an overlay names it without a folder, and finds it through a link beside itself."""
    return f"base{index}.qcow2"


def blank_name(index: int) -> str:
    """The empty overlay of disk ``index``."""
    return f"blank{index}.qcow2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A saved VM; see :func:`take_snapshot` and :func:`load_snapshot`.

    Attributes:
        method: How its RAM was saved.
        spec: The VM as it was started.
        state_by: How QEMU wrote its state, and reads it: :mod:`lab.vm.statefile`.
        read_only_ram: QEMU can open the RAM file read-only (8.2 and later); earlier ones open it for writing and map it
            privately.
        files: Name (with its folder, where it lies elsewhere) -> (size, modification time in ns) of each file: a file that
            differs was changed.
    """

    method: Method
    spec: VmSpec
    state_by: StateBy
    read_only_ram: bool = False
    files: Mapping[str, tuple[int, int]]


_ADAPTER = TypeAdapter(Snapshot)


def take_snapshot(
    machine: Machine,
    folder: Path,
    *,
    ram: RamFile | None,
    features: QemuFeatures,
    timeout: float = 120.0,
    clock: Callable[[], float] = time.monotonic,
) -> Snapshot:
    """Stop a VM and write its snapshot into a folder. The VM ends.

    Args:
        machine: The VM; its disks are overlays in its run folder. It has ended when this returns.
        folder: Existing folder.
        ram: The VM's RAM; None: it is in the stream.
        features: What its QEMU can do.
        timeout: Seconds until the stream must be written.
        clock: Monotonic clock in seconds.

    Raises:
        SnapshotFailed: QEMU did not write its state in time, failed to, or does not support it.
        CommandRefused: QEMU does not accept the file's address.
        GuestExited: QEMU ended meanwhile.
        OSError: The folder's disk is full.
    """
    way = replace(choose_method(features), method="shared" if ram else "stream")
    machine.pause()
    write_state(machine, folder / STATE_FILE, way, timeout=timeout, clock=clock)
    machine.qmp.execute("quit")
    machine.wait_exit(timeout)
    machine.close()
    if ram:
        ram.store(folder / RAM_FILE)
    names = [STATE_FILE, RAM_FILE] if ram else [STATE_FILE]
    for index, disk in enumerate(machine.spec.disks):
        if disk.read_only and not disk.overlay:
            continue  # forks read the same file
        if not disk.overlay:
            raise SnapshotFailed(f"{machine.spec.name}: disk {disk.path} has no overlay, so no snapshot can be taken")
        shutil.move(machine.run_dir / overlay_name(index), folder / base_name(index))
        create_overlay(folder / base_name(index), folder / blank_name(index), by_name=True)
        names += [base_name(index), blank_name(index)]
    if machine.spec.firmware:
        shutil.move(machine.run_dir / VARS_FILE, folder / VARS_FILE)
        names.append(VARS_FILE)
    # The user's files that added disks are based on: forks cannot be used once one of these files has changed.
    added = [str(disk.path.absolute()) for disk in machine.spec.disks if disk.added]
    for name in names:
        # QEMU before 8.2 opens the RAM file for writing, also where it maps it privately.
        (folder / name).chmod(0o600 if name == RAM_FILE and not features.read_only_ram_file else 0o400)
    snapshot = Snapshot(
        method=way.method,
        spec=_plain_spec(machine.spec),
        state_by=way.state_by,
        read_only_ram=features.read_only_ram_file,
        files={name: _mark(folder / name) for name in [*names, *added]},
    )
    write_snapshot(folder, snapshot)
    return snapshot


def write_snapshot(folder: Path, snapshot: Snapshot) -> None:
    """Write ``snapshot.json``."""
    (folder / SNAPSHOT_FILE).write_bytes(_ADAPTER.dump_json(snapshot, indent=1))


def load_snapshot(folder: Path) -> Snapshot:
    """Read the snapshot of a folder, and check that no file was changed since.

    Raises:
        SnapshotFailed: The folder holds no snapshot, or a file was changed.
    """
    try:
        snapshot = _ADAPTER.validate_json((folder / SNAPSHOT_FILE).read_bytes())
        for name, expected in snapshot.files.items():
            if _mark(folder / name) != tuple(expected):
                raise SnapshotFailed(f"{folder / name} was changed after the snapshot was taken")
    except (OSError, ValidationError) as error:
        raise SnapshotFailed(f"{folder} has no snapshot: {str(error).splitlines()[0]}") from None
    return snapshot


def fork_spec(snapshot: Snapshot, folder: Path, *, name: str) -> VmSpec:
    """The VM of a fork: that of the snapshot, waiting for its state, on its own overlays."""
    memory = None
    if snapshot.method == "shared":
        memory = MemoryFile(folder / RAM_FILE, share=False, read_only=snapshot.read_only_ram)
    disks = tuple(
        replace(disk, path=folder / base_name(index), format="qcow2", blank=folder / blank_name(index))
        if disk.overlay
        else disk
        for index, disk in enumerate(snapshot.spec.disks)
    )
    return _restored_spec(snapshot, folder, name=name, memory=memory, disks=disks)


def fork(
    snapshot: Snapshot,
    folder: Path,
    run_dir: Path,
    *,
    name: str,
    timeout: float = 60.0,
    waiting: WaitingSupervisor | None = None,
) -> VirtualMachine:
    """Start a fork and restore it; its virtual CPUs are stopped until :meth:`~lab.vm.machine.VirtualMachine.cont`.

    Args:
        snapshot: The snapshot.
        folder: Its folder.
        run_dir: The fork's own folder; made if it is missing.
        name: For process lists and messages.
        timeout: Seconds for all of it.
        waiting: A supervisor that was started in advance; it serves this start only.

    Raises:
        SnapshotFailed: QEMU did not load the state in time.
        GuestExited: QEMU ended, for example over a state that it does not understand; with its messages.
        HostToolError: QEMU could not be started.
    """
    return _restore(snapshot, folder, run_dir, fork_spec(snapshot, folder, name=name), timeout=timeout, waiting=waiting)


def resume_copy(
    snapshot: Snapshot, folder: Path, run_dir: Path, *, name: str, timeout: float = 60.0
) -> tuple[VirtualMachine, RamFile | None]:
    """Start a VM that resumes from a copy of the snapshot, so that another snapshot can be taken of it.

    Returns:
        The VM, with its virtual CPUs stopped, and its RAM, which is a copy.
    """
    ram = None
    if snapshot.method == "shared":
        ram = RamFile(snapshot.spec.memory_mb)
    try:
        if ram:
            ram.load(folder / RAM_FILE)
        # Disks are copied, not overlaid: the new snapshot must not depend on this folder.
        disks = tuple(
            replace(disk, copy_of=folder / base_name(index)) if disk.overlay else disk
            for index, disk in enumerate(snapshot.spec.disks)
        )
        spec = _restored_spec(snapshot, folder, name=name, memory=ram.memory if ram else None, disks=disks)
        return _restore(snapshot, folder, run_dir, spec, timeout=timeout), ram
    except BaseException:
        if ram:
            ram.close()
        raise


def _restored_spec(
    snapshot: Snapshot, folder: Path, *, name: str, memory: MemoryFile | None, disks: tuple[Disk, ...]
) -> VmSpec:
    firmware = snapshot.spec.firmware
    if firmware:
        firmware = replace(firmware, vars=folder / VARS_FILE)
    # The kernel is in the RAM already. QEMU would read its file at each start (58 MB, 12 ms) and keep it in memory of its own;
    # only a VM that may reboot needs it.
    boot = snapshot.spec.boot if snapshot.spec.actions.reboot == "reset" else None
    return replace(
        snapshot.spec, name=name, memory=memory, disks=disks, firmware=firmware, boot=boot, incoming="defer", paused=True
    )


def _restore(
    snapshot: Snapshot, folder: Path, run_dir: Path, spec: VmSpec, *, timeout: float, waiting: WaitingSupervisor | None = None
) -> VirtualMachine:
    machine = VirtualMachine(spec, run_dir)
    try:
        machine.start(timeout=timeout, waiting=waiting)
        read_state(machine, folder / STATE_FILE, snapshot.method, snapshot.state_by, timeout=timeout)
        _carry_console(snapshot, folder, machine.run_dir)
    except BaseException:
        with passed_over(_LOG, f"{machine.spec.name}: ending the VM of a fork that was not restored", Exception):
            machine.kill()
        machine.close()
        raise
    return machine


def _carry_console(snapshot: Snapshot, folder: Path, run_dir: Path) -> None:
    """A fork's guest booted before the snapshot; the console output of that boot belongs to its log."""
    logs = (folder / CONSOLE_BEFORE_FILE, folder / f"{serial_name(snapshot.spec.console)}.log")
    if said := b"".join(log.read_bytes() for log in logs if log.exists()):
        (run_dir / CONSOLE_BEFORE_FILE).write_bytes(said)


def _plain_spec(spec: VmSpec) -> VmSpec:
    """The spec without the parts that concern one start only."""
    disks = tuple(replace(disk, blank=None, copy_of=None) for disk in spec.disks)
    return replace(spec, memory=None, disks=disks, incoming="", paused=False)


def _mark(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns
