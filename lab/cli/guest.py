"""`lab up`, `lab shell`, `lab run-in-guest`, `lab down`, `lab ps`: keep a guest and look around in it."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from lab.cli.choices import OpenTransportOption, check_transport
from lab.cli.given import Given, takes_settings
from lab.cli.invocation import with_own_command
from lab.cli.resolved import guest_of
from lab.cli.terminal import line_shell, require_terminal, ssh_terminal
from lab.config import Settings
from lab.errors import ConfigError, TransportError
from lab.guest.ssh.kind import SSH
from lab.guest.transport_kind import title_of
from lab.host.paths import runs_dir, state_dir
from lab.image.folder import read_manifest
from lab.image.progress import open_progress
from lab.image.recipes import existing_image
from lab.lease.detached import DetachedGuest, DetachedGuests, access_detached, describe, end_detached, open_detached
from lab.live.boot import boot_guest
from lab.live.guest_clock import clock_with, for_people
from lab.live.machine_spec import machine_spec
from lab.live.resolve import resolve_guest
from lab.vm.argv import build_argv, command_text
from lab.vm.cleanup import RunFolder, sweep

_NameArgument = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Guest; may be left out if only one is up")]
#: See lab.image.manifest.load_credentials.
CREDENTIALS_FILE = "credentials.json"
_DASHES = "lab.after_dashes"
#: The transport that has terminals.
SSH_NAME = "ssh"


class _AfterDashes(TyperCommand):
    """A command that takes everything after ``--`` as it is; before that, there may be a name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Split the arguments at the first ``--``."""
        if "--" in args:
            at = args.index("--")
            ctx.meta[_DASHES] = args[at + 1 :]
            args = args[:at]
        return list(super().parse_args(ctx, args))


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(shell)
    app.command("run-in-guest", cls=_AfterDashes)(run_in_guest)
    app.command()(down)
    app.command()(ps)


def detached_guests() -> DetachedGuests:
    """The register in the user's state folder."""
    return DetachedGuests(state_dir() / "guests")


@takes_settings("up")
def up(
    given: Given,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of the guest; default: the image's name")] = None,
    smp: Annotated[int | None, typer.Option(min=1, help="Virtual CPUs; default: the image's own number")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the QEMU command line and do not start it")] = False,
) -> None:
    """Boot a guest that stays until `lab down`."""
    settings = given.load()
    values = settings.values
    if dry_run:
        found = resolve_guest(values, existing_image, file=settings.file, clock=for_people(values.clock))
        spec = machine_spec(
            found.manifest,
            found.image_dir,
            name=name or Path(values.image).name,
            accelerator=found.accelerator,
            smp=smp,
            clock=clock_with(found.clock, smp or found.manifest.machine.smp),
            hardware=found.hardware,
        )
        typer.echo(command_text(build_argv(spec)))
        return
    guests = detached_guests()
    chosen = guests.free_name(name, Path(values.image).name)
    kept = _boot(chosen, settings, smp=smp, guests=guests)
    typer.echo(f"{kept.name} is up: {kept.guest}")
    print_ways(kept)
    typer.echo(with_own_command(f"try: lab run-in-guest {kept.name} -- ver; lab shell {kept.name}; lab down {kept.name}"))


def _boot(name: str, settings: Settings, *, smp: int | None, guests: DetachedGuests) -> DetachedGuest:
    values = settings.values
    sweep(runs_dir())
    with open_progress() as progress:
        found = guest_of(settings, progress, clock=for_people(values.clock))
        image = found.image_dir
        found.try_machine(forks=False)
        progress.stage(f"boot {name} ({found.accelerator})")
        folder = RunFolder.create(runs_dir(), name)
        try:
            live = boot_guest(
                image,
                guest_id=name,
                run_dir=folder.path,
                accelerator=found.accelerator,
                smp=smp,
                clock=clock_with(found.clock, smp or found.manifest.machine.smp),
                transport=values.transport,
                timeout=values.boot_timeout,
                debug=values.debug,
                detached=True,
                hardware=found.hardware,
                progress=progress.detail,
            )
        except BaseException:
            folder.remove()
            raise
        try:
            machine = live.machine
            kept = describe(name, guest=live.manifest.guest, image_dir=image, machine=machine, transport=values.transport)
            guests.add(kept)
            machine.detach()
        except BaseException:
            live.close()
            folder.remove()
            raise
        live.close(keep=True)
        # The guest's supervisor holds the folder from here on.
        folder.release()
        progress.done(f"{name} answers")
    return kept


def shell(
    name: _NameArgument = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Read commands line by line instead of opening a terminal over SSH")
    ] = False,
) -> None:
    """Open a shell in a guest."""
    require_terminal()
    kept = detached_guests().find(name)
    if plain or SSH_NAME not in read_manifest(kept.image_dir).transports:
        transport = open_detached(kept)
        try:
            raise typer.Exit(_exit_code(line_shell(transport, name=kept.name, read_line=input, out=sys.stdout)))
        finally:
            transport.close()
    try:
        connection = SSH.login(access_detached(kept, SSH_NAME), timeout=30)
    except OSError as error:
        raise TransportError(f"guest {kept.name} does not answer SSH: {error}", hint="`lab shell --plain` uses WinRM") from None
    try:
        raise typer.Exit(_exit_code(ssh_terminal(connection)))
    finally:
        connection.close()


def run_in_guest(
    context: typer.Context,
    name: _NameArgument = None,
    transport: OpenTransportOption = None,
    timeout: Annotated[float, typer.Option(min=1, help="Deadline for the command")] = 300.0,
    stdin: Annotated[bool, typer.Option("--stdin", help="Send standard input to the command, up to its end")] = False,
) -> None:
    """Run a command in a guest: lab run-in-guest [NAME] -- COMMAND.

    One argument is a line for cmd; several arguments are quoted by Windows' rules. The exit code is that of the command. A
    host cannot pass on a code above 255: then it is the last eight bits (never 0), and standard error has the whole code.
    """
    command: list[str] = context.meta.get(_DASHES, [])
    if not command:
        raise ConfigError("there is no command", hint="lab run-in-guest [NAME] -- ver")
    check_transport(transport)
    connection = open_detached(detached_guests().find(name), transport)
    try:
        data = sys.stdin.buffer.read() if stdin else b""
        result = connection.run(command[0] if len(command) == 1 else command, timeout=timeout, stdin=data)
    finally:
        connection.close()
    sys.stdout.buffer.write(result.stdout)
    sys.stdout.buffer.flush()
    sys.stderr.buffer.write(result.stderr)
    sys.stderr.buffer.flush()
    raise typer.Exit(_exit_code(result.exit_code))


def down(
    name: _NameArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="Every guest that is running")] = False,
) -> None:
    """End a guest and discard its changes."""
    guests = detached_guests()
    if everything and name is not None:
        raise ConfigError("a name and --all cannot be combined")
    for guest in guests.all() if everything else [guests.find(name)]:
        end_detached(guest)
        guests.remove(guest.name)
        typer.echo(f"{guest.name} is down")


def ps() -> None:
    """List the guests that are running."""
    guests = detached_guests().all()
    if not guests:
        typer.echo(with_own_command("no guest is running; `lab up` boots one"))
        return
    for guest in guests:
        since = datetime.datetime.fromtimestamp(guest.created).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        typer.echo(f"{guest.name}: {guest.guest}, since {since}, process {guest.pid}")
        print_ways(guest)


def print_ways(guest: DetachedGuest) -> None:
    """Where a guest is reached, and where its logs are."""
    names: dict[int, str] = {}
    for name, offer in read_manifest(guest.image_dir).transports.items():
        title = title_of(name)
        names |= {offer.port: title} if offer.port is not None else {}
        names |= {port: f"{title} with {what.upper()}" for what, port in offer.more.items()}
    for port, host_port in guest.ports.items():
        if port in names:
            typer.echo(f"  {names[port]:<15} 127.0.0.1:{host_port}")
    typer.echo(f"  {'credentials':<15} {guest.image_dir / CREDENTIALS_FILE}")
    typer.echo(f"  {'logs':<15} {guest.run_dir}")


def _exit_code(code: int) -> int:
    """A Windows exit code as one of the host's 0..255; never 0 for a failure."""
    if 0 <= code <= 255:
        return code
    sys.stderr.write(f"exit code {code} (0x{code & 0xFFFFFFFF:08X})\n")
    return code & 0xFF or 1
