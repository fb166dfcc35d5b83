"""From a restored machine to a live guest: let it run, tell it the time, connect, have one command answered."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

from lab.errors import FreezeFailed
from lab.guest.protocol import Transport
from lab.guest.readiness import wait_ready
from lab.guest.winrm import WinRmTransport
from lab.pool.boot import connect, print_source, read_credentials
from lab.pool.live import LiveGuest, TransportName
from lab.pool.template import Template, TemplateWish
from lab.prints.resume import ResumableSource
from lab.vm.machine import VirtualMachine

#: A fork answers within half a second; a busy machine may take longer, and whoever takes this long is broken.
WAKE_S = 60.0


def wake(
    machine: VirtualMachine,
    template: Template,
    wish: TemplateWish,
    *,
    guest_id: str,
    begin: float | None = None,
    timeout: float = WAKE_S,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
    on_close: Callable[[bool], None] = lambda _kept: None,
) -> LiveGuest:
    """Let a restored machine run and connect to it.

    The guest is ready when it has answered an authenticated command, as after a boot. Over WinRM the question goes to a cmd
    that was left waiting before the freeze: the answer is that of a Windows program in this very fork, and costs no new
    process. Over SSH a new cmd is asked.

    Args:
        machine: The machine, its virtual CPUs standing still.
        template: What it was restored from.
        wish: What the template was made of.
        guest_id: Its name in reports.
        begin: Value of ``clock`` from which its start is counted; now when None.
        timeout: Seconds until it must answer.
        clock: Monotonic clock in seconds.
        wall: Wall clock in seconds.
        on_close: Called when the guest is closed, with whether it was kept.

    Raises:
        TransportError: The guest does not answer.
        GuestHung: A command did not end.
        GuestExited: QEMU ended.
        BootTimeout: No answer in time.
    """
    begin = clock() if begin is None else begin
    credentials = read_credentials(wish.image_dir)
    prints = print_source(
        wish.manifest, machine, wish.payload.encoding(wish.manifest.prints.encoding), resume=template.prints_state()
    )
    if not isinstance(prints, ResumableSource):
        raise FreezeFailed(f"prints by {prints.name} cannot be followed from a fork")

    def open_transport(name: TransportName) -> Transport:
        return connect(name, wish.manifest, credentials, machine)

    with contextlib.ExitStack() as undo:
        undo.callback(prints.close)
        prints.start()
        machine.cont()
        transport = open_transport(template.transport)
        undo.callback(transport.close)
        # First, because whatever the guest does next may look at its clock or draw a random number.
        _tell(prints, wall(), timeout)
        if isinstance(transport, WinRmTransport) and template.parked:
            transport.resume(template.parked, timeout=timeout)
        else:
            transport.close()
            transport = wait_ready(
                lambda: open_transport(template.transport),
                deadline=clock() + timeout,
                alive=lambda: machine.alive,
                console=machine.console_tail,
            )
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
        open_transport=open_transport,
        on_close=on_close,
    )


def set_clock(live: LiveGuest, *, timeout: float = WAKE_S, wall: Callable[[], float] = time.time) -> None:
    """Tell a fork that stood still what time it is.

    Raises:
        TransportError: The guest does not answer.
    """
    if isinstance(live.prints, ResumableSource):
        _tell(live.prints, wall(), timeout)


def _tell(prints: ResumableSource, now: float, timeout: float) -> None:
    prints.wake(now, os.urandom(32), timeout=timeout)
