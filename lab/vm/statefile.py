"""Writes a QEMU's state into a file and reads it back, as a migration stream.

There are two ways, and each QEMU has one of them. Its monitor's schema shows which one:

``file``
    ``migrate`` and ``migrate-incoming`` take ``file:`` addresses (QEMU 8.2 and later).
``pipe``
    Addresses are plain text to the schema (before 8.2). ``exec:`` writes through a ``cat``; ``fd:`` reads from a file that is
    handed over, which needs no program in between and is fast.

The second way is no fallback for the first: QEMU 11 refuses a regular file that comes by ``fd:``. A QEMU whose schema lists its
kinds of address, and has none for files, cannot take snapshots.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lab.errors import SnapshotFailed
from lab.host.qemu import QemuFeatures
from lab.vm.machine import VirtualMachine
from lab.vm.protocol import Machine

Method = Literal["shared", "stream"]
StateBy = Literal["file", "pipe"]

_POLL_S = 0.0005


@dataclass(frozen=True, slots=True)
class SnapshotMethod:
    """How a QEMU takes snapshots.

    Attributes:
        method: ``shared`` leaves RAM out of the stream, ``stream`` includes it.
        state_by: How the stream gets into its file, and out of it.
        why: The reason, from QEMU's schema, for messages.
    """

    method: Method
    state_by: StateBy
    why: str


def choose_method(features: QemuFeatures | None) -> SnapshotMethod:
    """Choose how a QEMU takes snapshots.

    Args:
        features: What it can do; None if that is unknown.

    Raises:
        SnapshotFailed: It cannot take any; with the reason.
    """
    if features is None:
        raise SnapshotFailed("QEMU does not report its features")
    if features.x_ignore_shared:
        method: Method = "shared"
        why = "it has x-ignore-shared"
    else:
        method, why = "stream", "it lacks x-ignore-shared"
    if features.file_migration:
        return SnapshotMethod(method, "file", f"{why}, and can migrate to file:")
    if features.text_migration:
        return SnapshotMethod(method, "pipe", f"{why}, and is too old for file:")
    raise SnapshotFailed("this QEMU's `migrate` lists its kinds of addresses, and none is for files")


def write_state(
    machine: Machine, state: Path, way: SnapshotMethod, *, timeout: float, clock: Callable[[], float] = time.monotonic
) -> None:
    """Write a paused VM's state into a file; the file is complete when this returns.

    Args:
        machine: It cannot be used afterwards.
        state: The file to make.
        way: How.
        timeout: Seconds for all of it.
        clock: Monotonic clock in seconds.

    Raises:
        SnapshotFailed: QEMU, or the ``cat`` after it, did not write its state in time, or could not.
        CommandRefused: QEMU does not accept the address.
        GuestExited: QEMU ended meanwhile.
    """
    deadline = clock() + timeout
    _set_capabilities(machine, way.method)
    if way.state_by == "file":
        machine.qmp.execute("migrate", {"uri": f"file:{state}"})
        _wait(machine, "query-migrate", ("completed",), timeout=timeout, clock=clock, what="write its state")
        return
    #: The exit status of the `cat` that wrote the state; the file is removed once it was read.
    ended = state.with_name(f"{state.name}.ended")
    ended.unlink(missing_ok=True)
    machine.qmp.execute("migrate", {"uri": f"exec:cat > {shlex.quote(str(state))}; echo $? > {shlex.quote(str(ended))}"})
    _wait(machine, "query-migrate", ("completed",), timeout=timeout, clock=clock, what="write its state")
    # QEMU is done when all of the state is in the pipe. It does not report how the `cat` ended (7.2 waits for it, other
    # versions may not), and a `cat` that still writes when QEMU ends is killed by QEMU's supervisor.
    _wait_for_cat(machine, ended, timeout=deadline - clock(), clock=clock)


def read_state(machine: VirtualMachine, state: Path, method: Method, state_by: StateBy, *, timeout: float) -> None:
    """Load the state into a VM that was started to wait for it; its virtual CPUs stay paused.

    Args:
        machine: Started with ``-incoming defer``.
        state: The file that :func:`write_state` wrote.
        method: As it was written.
        state_by: As it was written, by the same QEMU.
        timeout: Seconds for all of it.

    Raises:
        SnapshotFailed: QEMU did not load the state in time.
        CommandRefused: QEMU does not accept the address.
        GuestExited: QEMU ended, for example over a state that it does not understand; with its messages.
    """
    _set_capabilities(machine, method)
    uri = f"file:{state}"
    if state_by == "pipe":
        uri = "fd:state"
        with state.open("rb") as file:
            machine.qmp.pass_file("state", file.fileno())
    machine.qmp.execute("migrate-incoming", {"uri": uri})
    _wait(machine, "query-status", ("paused", "prelaunch", "postmigrate"), timeout=timeout, what="load the snapshot's state")


def _set_capabilities(machine: Machine, method: Method) -> None:
    if method == "shared":
        capabilities = [{"capability": "x-ignore-shared", "state": True}]
        machine.qmp.execute("migrate-set-capabilities", {"capabilities": capabilities})


def _wait(
    machine: Machine,
    command: str,
    wanted: tuple[str, ...],
    *,
    timeout: float,
    what: str,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Poll the monitor until a state is reached; some 10 ms for a shared RAM file."""
    deadline = clock() + timeout
    while True:
        answer: Mapping[str, Any] = machine.qmp.execute(command)
        status = str(answer.get("status"))
        if status in wanted:
            return
        if status in ("failed", "cancelled"):
            raise SnapshotFailed(f"{machine.spec.name}: QEMU could not {what}: {answer.get('error-desc', status)}")
        if clock() >= deadline:
            raise SnapshotFailed(f"{machine.spec.name}: QEMU did not {what} within {timeout:g} s; it is {status}")
        time.sleep(_POLL_S)


def _wait_for_cat(machine: Machine, ended: Path, *, timeout: float, clock: Callable[[], float]) -> None:
    """Wait until the program that reads QEMU's pipe has written everything."""
    deadline = clock() + timeout
    while not (said := ended.read_text(encoding="ascii") if ended.exists() else "").endswith("\n"):
        if clock() >= deadline:
            raise SnapshotFailed(f"{machine.spec.name}: `cat` did not write QEMU's state in time")
        time.sleep(_POLL_S)
    ended.unlink()
    if said != "0\n":
        raise SnapshotFailed(
            f"{machine.spec.name}: `cat` could not write QEMU's state and ended with {said.strip()}",
            hint="is the disk of the cache folder full?",
        )
