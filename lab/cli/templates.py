"""`lab snapshot`, `lab fork`, `lab templates`: templates and forks for people."""

from __future__ import annotations

import contextlib
import datetime
import functools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from lab.cli.given import Given, takes_settings
from lab.cli.guest import detached_guests, print_ways
from lab.cli.invocation import with_own_command
from lab.cli.resolved import drivers_of, guest_of
from lab.config import Settings
from lab.config.model import ClockChoice
from lab.errors import ConfigError, SnapshotFailed
from lab.host.accel import QEMU
from lab.host.paths import cache_dir, runs_dir, templates_dir
from lab.host.qemu import qemu_version
from lab.image.manifest import ImageManifest
from lab.image.progress import Progress, open_progress
from lab.image.store import list_images
from lab.lease.detached import describe
from lab.lease.image_source import make_forks
from lab.live.guest_clock import clock_with, for_people
from lab.live.hardware import disk_sums
from lab.live.named_files import file_sums
from lab.live.payload import Payload
from lab.live.print_wiring import can_resume, why_not_forked
from lab.live.verifier import VerifierWish, verifier_wish, wanted_profile
from lab.report.outdir import COPIES
from lab.snapshot.fork_request import ForkWish
from lab.snapshot.forks import Forks
from lab.snapshot.store import TemplateStore
from lab.snapshot.template import Template, TemplateWish
from lab.vm.cleanup import RunFolder, sweep

#: `lab run` tests drivers; these commands only copy and load them.
_DRIVER = {"drivers": "Driver to copy into the guest: folder, driver.yaml or .sys"}
_LoadOption = Annotated[list[str] | None, typer.Option("--load", metavar="NAME", help="Driver to load; may be repeated")]
_SmpOption = Annotated[int | None, typer.Option(min=1, help="Virtual CPUs; default: the image's own number")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(snapshot)
    app.command()(fork)
    app.command()(templates)
    app.command("freeze", hidden=True)(_freeze)


@takes_settings("snapshot", helps=_DRIVER)
def snapshot(
    given: Given,
    load: _LoadOption = None,
    smp: _SmpOption = None,
) -> None:
    """Make a template, unless it exists: boot a guest, copy and load drivers, take a snapshot. Runs do this by themselves."""
    settings = given.load()
    with open_progress() as progress, _copies() as copies:
        forks, wish = _forks(settings, progress, copies, smp=smp, load=load, clock=settings.values.clock)
        try:
            template = _template(forks, wish)
        finally:
            forks.close()
        progress.done(f"template of {template.name}")
    _show(template)


@functools.wraps(snapshot)
def _freeze(**options: Any) -> None:
    typer.echo("lab: `lab freeze` is the old name of `lab snapshot`, which the next release no longer has", err=True)
    snapshot(**options)


@takes_settings("fork", helps=_DRIVER)
def fork(
    given: Given,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of the guest; default: the image's name")] = None,
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="How many")] = 1,
    load: _LoadOption = None,
    smp: _SmpOption = None,
) -> None:
    """Start forks of a template that stay until `lab down`; first make the template, unless it exists."""
    settings = given.load()
    guests = detached_guests()
    sweep(runs_dir())
    with open_progress() as progress, _copies() as copies:
        forks, wish = _forks(settings, progress, copies, smp=smp, load=load, clock=for_people(settings.values.clock))
        try:
            template = _template(forks, wish)
            for _ in range(number):
                chosen = guests.free_name(name if number == 1 else None, name or Path(settings.values.image).name)
                begin = time.monotonic()
                live = forks.fork(chosen, wish)
                if live is None:
                    raise SnapshotFailed("; ".join(forks.figures.notes))
                try:
                    machine = live.machine
                    kept = describe(
                        chosen,
                        guest=f"{live.manifest.guest}; fork of {template.name}",
                        image_dir=forks.image_dir,
                        machine=machine,
                        transport=settings.values.transport,
                        encoding=forks.encoding,
                        template=live.template,
                        loaded=tuple(sorted(live.loaded)),
                    )
                    guests.add(kept)
                    machine.detach()
                except BaseException:
                    live.close()
                    raise
                live.close(keep=True)
                progress.done(f"{chosen} answers after {time.monotonic() - begin:.2f} s")
                typer.echo(f"{kept.name} is up: {kept.guest}")
                print_ways(kept)
        finally:
            forks.close()


def templates(
    prune: Annotated[bool, typer.Option("--prune", help="Remove templates that no run can use any more")] = False,
    everything: Annotated[bool, typer.Option("--all", help="With --prune: remove all")] = False,
) -> None:
    """List the templates in the cache folder. Runs make the templates that they need."""
    if everything and not prune:
        raise ConfigError("--all is an option of --prune", hint="lab templates --prune --all")
    store = TemplateStore(templates_dir())
    if prune:
        images = {image.manifest.key for image in list_images()}
        removed = store.prune(unless=lambda template: not everything and template.image_key in images)
        store.remove_leftovers()
        typer.echo(f"removed {len(removed)} template(s)")
    found = store.all()
    if not found and not prune:
        typer.echo(with_own_command("there is no template; `lab snapshot` or the next run makes one"))
    for template in found:
        _show(template)


def _show(template: Template) -> None:
    since = datetime.datetime.fromtimestamp(template.created).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    typer.echo(f"{template.key}: {template.name}; {template.guest}")
    typer.echo(f"  {'made':<8} {since}, in {template.made_s:.1f} s; its boot took {template.boot_s:.1f} s")
    typer.echo(f"  {'folder':<8} {template.folder} ({template.size >> 20} MiB)")


@contextlib.contextmanager
def _copies() -> Iterator[Path]:
    """A folder for the command's own copies of drivers and clients: once they are in a guest, they are not needed any more."""
    with tempfile.TemporaryDirectory(prefix="lab-drivers-") as folder:
        yield Path(folder) / COPIES


def _forks(
    settings: Settings, progress: Progress, copies: Path, *, smp: int | None, load: list[str] | None, clock: ClockChoice
) -> tuple[Forks, ForkWish]:
    """What makes forks for these settings; image and drivers are built when they are missing."""
    values = settings.values
    guest = guest_of(settings, progress, clock=clock)
    manifest, hardware = guest.manifest, guest.hardware
    if not can_resume(manifest):
        raise SnapshotFailed(
            f"guests of {manifest.name} cannot be forked: {why_not_forked(manifest)}",
            hint=f"boot it instead: `lab up --guest {values.image}`",
        )
    if lost := guest.try_machine(forks=True):
        raise SnapshotFailed(f"guests of {manifest.name} cannot be forked: {lost}", hint="boot it instead: `lab up`")
    packages = guest.take_drivers(
        drivers_of(settings, names=tuple(load or ())),
        into=copies,
        progress=progress.detail,
        warn=lambda line: typer.echo(f"lab: {line}", err=True),
    )
    payload = Payload.of(packages)
    names = tuple(sorted(payload.load_order(payload.driver(name).name for name in load or ())))
    wish = TemplateWish(
        image_dir=guest.image_dir,
        manifest=manifest,
        payload=payload,
        accelerator=guest.accelerator,
        qemu=qemu_version(QEMU),
        transport=values.transport,
        smp=manifest.machine.smp,
        hardware=hardware,
        disk_sums=disk_sums(hardware, cache_dir()),
        file_sums=file_sums(hardware, cache_dir()),
        verifier=_verifier(settings, manifest, payload),
    )

    def close(folder: RunFolder, kept: bool) -> None:
        # The guest's supervisor holds the folder of a fork that stays.
        if kept:
            folder.release()
        else:
            folder.remove()

    forks = make_forks(
        wish,
        TemplateStore(templates_dir()),
        runs_dir=runs_dir(),
        boot_timeout=values.boot_timeout,
        on_close=close,
        progress=progress.stage,
    )
    cpus = smp or manifest.machine.smp
    return forks, ForkWish(cpus, names, clock_with(guest.clock, cpus))


def _verifier(settings: Settings, manifest: ImageManifest, payload: Payload) -> VerifierWish | None:
    """What Driver Verifier checks in the forks: that of the lab file, if they get drivers."""
    values = settings.values
    if not payload.drivers:
        return None
    profile = wanted_profile(values.verifier, values.verifier_profiles, manifest, file=settings.file)
    return verifier_wish(values.verifier, profile, payload.image_names)


def _template(forks: Forks, wish: ForkWish) -> Template:
    template = forks.template(wish)
    if template is None or template.drivers != wish.drivers:
        raise SnapshotFailed(
            "; ".join(forks.figures.notes) or "no template can be made", hint="`lab doctor` shows what this QEMU can do"
        )
    return template
