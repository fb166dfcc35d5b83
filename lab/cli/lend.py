"""`lab debug` of a guest whose kernel debugger's port the print collector serves: it is lent to another debugger."""

from __future__ import annotations

import time

import typer

from lab.errors import ConfigError, TransportError
from lab.lease.detached import DetachedGuest
from lab.prints.kd.control import DEBUGGER_SOCKET, CollectorControl
from lab.prints.kd.process import CONTROL_SOCKET

_POLL_S = 0.5


def lend_port(guest: DetachedGuest) -> None:
    """Offer the port until a debugger has connected and disconnected, or until Ctrl-C.

    Raises:
        ConfigError: The guest was booted without its debugger.
        TransportError: Its collector does not answer.
    """
    socket = guest.run_dir / CONTROL_SOCKET
    if not socket.exists():
        raise ConfigError(
            f"guest {guest.name} was booted without a kernel debugger",
            hint="LAB_DEBUG=kd lab up (`debug: kd` in the lab file) boots a Windows guest with one",
        )
    control = CollectorControl(socket)
    port = control.request("lend").port
    typer.echo(f"the debugger port of guest {guest.name}, until the debugger disconnects or you press Ctrl-C:")
    typer.echo(f"  windbg -k com:ipport={port},port=127.0.0.1")
    typer.echo(f"  ntoseye.attach(backend='kd', connect='{guest.run_dir / DEBUGGER_SOCKET}')")
    typer.echo("prints are still recorded; when the debugger disconnects, the collector answers the kernel again", err=True)
    came = False
    try:
        while True:
            here = control.status().borrowed
            if here and not came:
                typer.echo("a debugger is connected", err=True)
            if came and not here:
                typer.echo("the debugger has disconnected", err=True)
                return
            came = here
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        return
    except TransportError as error:
        raise TransportError(
            f"guest {guest.name} is gone: {error.message}", hint="`lab ps` lists the guests that are up"
        ) from error
    finally:
        _take_back(control)


def _take_back(control: CollectorControl) -> None:
    try:
        control.request("take-back")
    except TransportError as error:
        typer.echo(f"lab: {error.message}", err=True)
