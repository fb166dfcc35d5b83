"""Turns a restored VM into a live guest: lets it run, sets its clock, connects, and waits for one answer."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

from lab.errors import SnapshotFailed
from lab.guest.protocol import Transport
from lab.guest.readiness import wait_ready
from lab.guest.transport_kind import ParksInGuest, TransportName, transport_kind
from lab.host.spare import WaitingProcess
from lab.image.folder import read_credentials
from lab.live.boot import cd_drive
from lab.live.cd_drive import CdCopy
from lab.live.connect import access, clocked, connect
from lab.live.delivery import Delivery
from lab.live.guest import LiveGuest
from lab.live.print_wiring import open_prints, why_not_forked
from lab.prints.resume import ResumableSource
from lab.snapshot.fork_clock import clock_programs, set_fork_clock
from lab.snapshot.template import Template, TemplateWish
from lab.vm.protocol import Machine

#: Seconds until a fork counts as broken. It answers within half a second, or later on a busy host.
RESUME_S = 60.0


def resume_guest(
    machine: Machine,
    template: Template,
    wish: TemplateWish,
    *,
    guest_id: str,
    begin: float | None = None,
    timeout: float = RESUME_S,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
    drive: CdCopy | None = None,
    helper: WaitingProcess | None = None,
    on_close: Callable[[bool], None] = lambda _kept: None,
) -> LiveGuest:
    """Let a restored VM run, connect to it, and set its clock.

    The guest is ready when it has answered an authenticated command, as after a boot. If the transport left a process in the
    guest before the snapshot, that process answers: over WinRM drvprobe or a cmd, so that a Windows program of this fork has
    answered without a new process. Otherwise the transport connects as to a guest that was booted.

    Args:
        machine: The VM, with its virtual CPUs stopped.
        template: What it was restored from.
        wish: The request that the template was made for.
        guest_id: Its name in reports.
        begin: Value of ``clock`` at which its start began; now if None.
        timeout: Seconds until it must answer.
        clock: Monotonic clock in seconds.
        wall: Wall clock in seconds.
        drive: The copy through its CD drive, if the drive has a medium already.
        helper: The process of its print channel, if it was started in advance.
        on_close: Called when the guest is closed, with whether it keeps running.

    Raises:
        TransportError: The guest does not answer.
        CommandFailed: The guest refuses to have its clock set.
        GuestHung: A command did not end.
        GuestExited: QEMU ended.
        BootTimeout: No answer in time.
    """
    begin = clock() if begin is None else begin
    credentials = read_credentials(wish.image_dir)

    def open_transport(name: TransportName) -> Transport:
        return connect(name, wish.manifest, credentials, machine)

    encoding = wish.payload.encoding(wish.manifest.prints.encoding)
    prints = open_prints(
        wish.manifest,
        machine,
        encoding,
        lambda: open_transport(template.transport),
        resume=template.prints_state(),
        helper=helper,
    )
    resumable = prints.resumable
    if resumable is None:
        raise SnapshotFailed(why_not_forked(wish.manifest))

    with contextlib.ExitStack() as undo, contextlib.ExitStack() as runs:
        undo.callback(prints.close)
        prints.start()
        # First, because anything that the guest does next may read its clock or draw a random number.
        _let_run(machine, resumable, wall(), timeout, runs)
        kind = transport_kind(template.transport)
        if isinstance(kind, ParksInGuest) and template.parked:
            there = access(
                template.transport,
                wish.manifest,
                credentials,
                machine,
                standing=None if template.base else wish.standing,
                beside=clock_programs(wish.manifest),
            )
            transport = clocked(kind.resume(there, template.parked, timeout=timeout), machine)
        else:
            transport = wait_ready(
                lambda: open_transport(template.transport),
                deadline=clock() + timeout,
                alive=lambda: machine.alive,
                console=machine.console_tail,
            )
        undo.callback(transport.close)
        set_fork_clock(wish.manifest, transport, timeout=timeout, wall=wall)
        undo.pop_all()
    return LiveGuest(
        guest_id=guest_id,
        manifest=wish.manifest,
        machine=machine,
        transport=transport,
        prints=prints,
        smp=template.smp,
        boot_s=clock() - begin,
        run_dir=machine.run_dir,
        template=template.key,
        loaded=frozenset(template.drivers),
        probe="" if template.base else wish.payload.probe,
        open_transport=open_transport,
        delivery=Delivery(
            wish.files_by,
            transport,
            open_transport,
            media=drive or cd_drive(machine, wish.manifest),
            tools_dir=wish.manifest.tools_dir,
        ),
        prepared=not template.base,
        verifier=template.verifier,
        on_close=on_close,
    )


def continue_guest(
    machine: Machine, live: LiveGuest, *, timeout: float = RESUME_S, wall: Callable[[], float] = time.time
) -> None:
    """Let a paused fork run, and set its clock.

    Raises:
        TransportError: The guest does not answer.
        CommandFailed: The guest refuses to have its clock set.
        GuestExited: QEMU has ended.
    """
    resumable = live.prints.resumable
    if resumable is not None:
        with contextlib.ExitStack() as runs:
            _let_run(machine, resumable, wall(), timeout, runs)
    else:
        machine.cont()
    set_fork_clock(live.manifest, live.transport, timeout=timeout, wall=wall)


def _let_run(machine: Machine, prints: ResumableSource, now: float, timeout: float, runs: contextlib.ExitStack) -> None:
    """Let a paused guest run and set its clock; with a virtual clock it runs until ``runs`` is closed."""

    def let_run() -> None:
        runs.enter_context(machine.running())
        machine.cont()

    prints.resume(now, os.urandom(32), let_run=let_run, timeout=timeout)
