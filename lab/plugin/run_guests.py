"""The source of a pytest process's guests: the lab's own image, or the source of a hook."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import cast

import pytest

from lab.config.verifier import OFF
from lab.errors import ConfigError, LabError
from lab.host.accel import QEMU
from lab.host.paths import runs_dir, state_dir, templates_dir
from lab.host.qemu import qemu_version
from lab.image.folder import read_manifest
from lab.image.manifest import ImageManifest
from lab.image.recipes import existing_image
from lab.lease.borrowed import borrow, check_image
from lab.lease.detached import DetachedGuests
from lab.lease.image_source import ImageSource, with_forks
from lab.lease.protocol import GuestSource
from lab.live.chosen_drivers import ChosenDrivers
from lab.live.guest import LiveGuest
from lab.live.payload import Payload
from lab.live.print_wiring import found_booted
from lab.live.resolve import resolve_guest
from lab.live.verifier import verifier_wish, wanted_profile
from lab.plugin.options import ON_FLAG, LabConfig
from lab.plugin.xdist_hooks import worker_count
from lab.report.outdir import COPIES
from lab.snapshot.store import TemplateStore
from lab.toolchain.compile import Arch
from lab.toolchain.select import DriverPackage
from lab.vm.cleanup import sweep
from lab.vm.spec import Clock

_LOG = logging.getLogger(__name__)


def make_source(config: pytest.Config, options: LabConfig, out: Path, *, marked: Collection[str] = ()) -> GuestSource:
    """Where the guests come from.

    Args:
        config: pytest's configuration.
        options: The lab's options.
        out: Folder of the run.
        marked: Drivers that the tests' markers name.

    Raises:
        LabError: The image is missing, a driver cannot be built, or no accelerator works.
    """
    replaced = config.hook.pytest_lab_guest_source(config=config, lab_config=options)
    if replaced is not None:
        return cast(GuestSource, replaced)
    if options.on:
        return _borrowed(config, options, out, marked)
    guest = resolve_guest(options, existing_image, file=options.file)
    sweep(runs_dir())
    profile = wanted_profile(options.verifier, options.verifier_profiles, guest.manifest, file=options.file)
    payload = Payload.of(_drivers(options, out, guest.manifest.arch, marked))
    source = ImageSource(
        image_dir=guest.image_dir,
        manifest=guest.manifest,
        payload=payload,
        accelerator=guest.accelerator,
        qemu=qemu_version(QEMU),
        transport=options.transport,
        boot_timeout=options.boot_timeout,
        files_by=options.files,
        runs_dir=runs_dir(),
        evidence_dir=out / "guests",
        kept=DetachedGuests(state_dir() / "guests"),
        debug=options.debug,
        clock=guest.clock,
        hardware=guest.hardware,
        verifier=verifier_wish(options.verifier, profile, payload.image_names),
        detached=options.keep != "never",
        progress=make_progress(config),
    )
    forked = options.boot == "fork"
    return with_forks(source, TemplateStore(templates_dir()), lab_file=options.file) if forked else source


def _borrowed(config: pytest.Config, options: LabConfig, out: Path, marked: Collection[str]) -> GuestSource:
    """The detached guest that ``--lab-on`` names.

    Raises:
        LabError: It has ended, or is of another image; or a driver cannot be built.
    """
    if options.verifier != OFF:
        raise ConfigError(
            f"{ON_FLAG} {options.on}: `verifier: {options.verifier}` cannot be switched on in a guest that is up",
            hint="--verifier off; or run without --on",
        )
    if worker_count(config) > 1:
        raise ConfigError(f"{ON_FLAG} {options.on}: there is one guest, but several workers", hint="use -n 1, or no -n")
    guest = DetachedGuests(state_dir() / "guests").find(options.on)
    if options.sources["image"] == "option":
        check_image(guest, existing_image(options.image))
    manifest = found_booted(read_manifest(guest.image_dir), guest.run_dir)
    return borrow(
        guest,
        manifest,
        Payload.of(_drivers(options, out, manifest.arch, marked)),
        qemu=qemu_version(QEMU),
        transport=None if options.sources["transport"] == "default" else options.transport,
        files_by=options.files,
        evidence_dir=out / "guests",
    )


def _drivers(options: LabConfig, out: Path, arch: Arch, marked: Collection[str]) -> tuple[DriverPackage, ...]:
    """The run's own copies of its drivers: made by `lab run`, or by the first of its workers that comes here."""
    return chosen_drivers(options).take_once(arch, into=out / COPIES, marked=marked)


def chosen_drivers(options: LabConfig) -> ChosenDrivers:
    """The drivers that the options name."""
    return ChosenDrivers.of(options, beside=options.beside, project=options.project)


def make_progress(config: pytest.Config) -> Callable[[str], None]:
    """Show waits in the terminal and in the log; a worker has no terminal."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")

    def say(text: str) -> None:
        _LOG.info("%s", text)
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(f"lab: {text}")

    return say


class NoSource:
    """A source without guests: every test that needs one fails with the reason.

    Args:
        error: The reason.
    """

    def __init__(self, error: LabError) -> None:
        self.error = error

    @property
    def manifest(self) -> ImageManifest:
        """Raises the reason."""
        raise self.error.anew()

    @property
    def payload(self) -> Payload:
        """Raises the reason."""
        raise self.error.anew()

    @property
    def accelerator(self) -> str:
        """Unknown."""
        return "none"

    @property
    def qemu(self) -> str:
        """Unknown."""
        return "unknown"

    @property
    def clock(self) -> Clock:
        """Nothing is known."""
        return "real"

    def boot(self, guest_id: str, *, smp: int | None = None, clock: Clock = "real") -> LiveGuest:
        """Raises the reason."""
        raise self.error.anew()
