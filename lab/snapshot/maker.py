"""Makes templates: boots a guest and takes a snapshot; or resumes one, loads drivers in it, and takes another snapshot."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from lab.errors import (
    BootTimeout,
    GuestClockWrong,
    GuestExited,
    GuestHung,
    SnapshotFailed,
    TransportError,
)
from lab.guest.clocked import unclocked
from lab.guest.transport_kind import Parked, ParksInGuest
from lab.host.qemu import QemuFeatures
from lab.image.folder import read_credentials
from lab.live.connect import access
from lab.live.delivery import FilesBy
from lab.live.guest import LiveGuest
from lab.live.print_wiring import debug_of, why_not_forked
from lab.live.verify import verify
from lab.prints.record import PrintSource
from lab.prints.resume import PrintsState, ResumableSource
from lab.prints.stream import fault_error, first_fault
from lab.snapshot.fork_clock import clock_programs, require_fork_clock
from lab.snapshot.idle import PATIENCE_S, processor_time
from lab.snapshot.template import Template, TemplateWish, write_template
from lab.snapshot.template_steps import TEMPLATE_STEPS, TemplateSteps
from lab.vm.protocol import Machine
from lab.vm.ramfile import RamFile
from lab.vm.statefile import choose_method

_RUN = "run"
_TRIAL = "trial"
_PATIENCE_S = 60.0
#: Guest seconds in which a guest with a virtual clock finishes its remaining work.
_REST_S = 5.0
#: Errors that a second boot may not meet again.
_WORTH_A_RETRY = (BootTimeout, GuestClockWrong, GuestExited, GuestHung, TransportError)
#: If a guest prints at the moment at which it is stopped, it is continued and stopped again a little later.
_TRIES = 20
#: Seconds until the print source has read what a paused guest has sent, and how often that is looked at.
_READ_S = 2.0
_POLL_S = 0.002


class TemplateMaker:
    """Makes the files of templates; :class:`~lab.snapshot.store.TemplateStore` decides where they go and who waits.

    Args:
        features: What QEMU can do.
        boot_timeout: Seconds until a guest must answer; None for the image's own figure.
        progress: Gets a line for each step.
        steps: What is done to VM and guest.
        clock: Monotonic clock in seconds.
        sleep: Sleeps for some seconds.
        wall: Wall clock in seconds.
    """

    def __init__(
        self,
        features: QemuFeatures,
        *,
        boot_timeout: float | None = None,
        progress: Callable[[str], None] = lambda _text: None,
        steps: TemplateSteps = TEMPLATE_STEPS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._features = features
        self._boot_timeout = boot_timeout
        self._progress = progress
        self._steps = steps
        self._clock = clock
        self._sleep = sleep
        self._wall = wall

    def boot(self, wish: TemplateWish, key: str, folder: Path) -> None:
        """Boot a guest and take its snapshot, without any file of a run.

        Args:
            wish: The requested template, see :meth:`~lab.snapshot.template.TemplateWish.base`.
            key: Its key.
            folder: An empty folder.

        Raises:
            SnapshotFailed: A guest with this VM cannot be forked; none was booted.
            LabError: The guest did not get ready, or its snapshot cannot be taken.
        """
        self._progress(f"make a template of {wish.manifest.name} for all workers")
        try:
            self._steps.check(wish, folder / _TRIAL, features=self._features)
        finally:
            shutil.rmtree(folder / _TRIAL, ignore_errors=True)
        try:
            self._boot(wish, key, folder)
        except _WORTH_A_RETRY as error:
            self._progress(f"the guest did not get ready; trying once more: {error.message.splitlines()[0]}")
            shutil.rmtree(folder / _RUN, ignore_errors=True)
            self._boot(wish, key, folder)

    def _boot(self, wish: TemplateWish, key: str, folder: Path) -> None:
        begin = self._clock()
        ram = None
        if choose_method(self._features).method == "shared":
            ram = RamFile(wish.manifest.machine.memory_mb)
        with contextlib.ExitStack() as undo:
            if ram:
                undo.callback(ram.close)
            guest = self._steps.boot(
                wish.image_dir,
                guest_id="template",
                run_dir=folder / _RUN,
                accelerator=wish.accelerator,
                smp=wish.smp,
                clock=wish.clock,
                transport=wish.transport,
                timeout=self._boot_timeout,
                encoding=wish.payload.encoding(wish.manifest.prints.encoding),
                debug=debug_of(wish.manifest),
                memory=ram.memory if ram else None,
                hardware=wish.hardware,
                files_by=self._by_transport(wish),
                verifier=wish.verifier,
                progress=self._progress,
            )
            undo.callback(guest.close)
            self._snapshot(guest, folder, wish, key, ram=ram, boot_s=guest.boot_s, begin=begin, files={})

    def derive(self, base: Template, wish: TemplateWish, key: str, folder: Path) -> None:
        """Resume a copy of the base, copy drivers and clients in, create services, load the wanted drivers, take a snapshot.

        Args:
            base: The template without any file of a run.
            wish: The requested template.
            key: Its key.
            folder: An empty folder.

        Raises:
            ServiceError: A driver does not load: that is for a test to find.
            WrongBinary: A file in the guest differs from the run's file.
            LabError: The guest did not get ready, or its snapshot cannot be taken.
        """
        begin = self._clock()
        loaded = f"with {', '.join(wish.drivers)} loaded" if wish.drivers else "with the drivers of this run"
        self._progress(f"make a template of {wish.manifest.name} {loaded}")
        with contextlib.ExitStack() as undo:
            machine, ram = self._steps.resume_copy(base.snapshot(), base.folder, folder / _RUN, name="template")
            if ram:
                undo.callback(ram.close)
            undo.callback(machine.close)
            guest = self._steps.resume(machine, base, replace(wish, files_by=self._by_transport(wish)), guest_id="template")
            undo.callback(guest.close)
            files = self._steps.deploy(guest, wish.payload, clock=self._clock).sums
            if wish.drivers:
                # The files that forks of this template run were compared here, just before they were loaded.
                verify(guest.transport, wish.payload.sums(), tools_dir=wish.manifest.tools_dir)
            for name in wish.payload.load_order(wish.drivers):
                guest.services.start(wish.payload.driver(name).service)
            self._snapshot(guest, folder, wish, key, ram=ram, boot_s=base.boot_s, begin=begin, files=files, base=base)

    def _park(self, guest: LiveGuest, machine: Machine, wish: TemplateWish) -> Parked:
        """Leave a process in the guest that answers a fork's first command, if the transport supports that."""
        kind = self._steps.transport(wish.transport)
        if isinstance(kind, ParksInGuest):
            there = access(
                wish.transport,
                wish.manifest,
                read_credentials(wish.image_dir),
                machine,
                standing=wish.standing,
                beside=clock_programs(wish.manifest),
            )
            with machine.running():
                return kind.park(unclocked(guest.transport), there, timeout=_PATIENCE_S, progress=self._progress)
        guest.transport.close()
        return Parked(state={})

    def _snapshot(
        self,
        guest: LiveGuest,
        folder: Path,
        wish: TemplateWish,
        key: str,
        *,
        ram: RamFile | None,
        boot_s: float,
        begin: float,
        files: Mapping[str, str],
        base: Template | None = None,
    ) -> None:
        machine = guest.machine
        resumable = guest.prints.resumable
        if resumable is None:
            raise SnapshotFailed(why_not_forked(wish.manifest))
        with machine.running():
            require_fork_clock(wish.manifest, guest.transport, timeout=_PATIENCE_S)
        parked = self._park(guest, machine, wish)
        if guest.clock == "virtual":
            # The guest's idle time takes the host no time, so that a fixed time is enough.
            guest.sleep(_REST_S)
        elif not self._steps.until_idle(processor_time(machine.pid)):
            self._progress(
                f"the guest does not become idle, so each fork begins with its remaining work: {PATIENCE_S:g} s waited"
            )
        # A fork's test that wants freshly loaded drivers gets the prints of this load.
        prints = self._stop_between_prints(machine, guest.prints, resumable, replay=base is not None and bool(wish.drivers))
        fault = first_fault(guest.prints.records_since(0))
        if fault is not None:
            raise fault_error(fault, f"a driver crashed in a template: {fault.text}")
        self._steps.take_snapshot(machine, folder, ram=ram, features=self._features)
        parked.release()
        guest.prints.close()
        run = folder / _RUN
        for log in run.glob("*.log"):
            shutil.copyfile(log, folder / log.name)
        guest.close()
        shutil.rmtree(run)
        write_template(
            Template(
                folder=folder,
                key=key,
                image=wish.manifest.name,
                image_key=wish.manifest.key,
                guest=wish.manifest.guest,
                drivers=wish.drivers,
                smp=wish.smp,
                transport=wish.transport,
                created=self._wall(),
                boot_s=boot_s,
                made_s=self._clock() - begin,
                prints=prints,
                parked=parked.state,
                files=files,
                base=base is None,
                clock=wish.clock,
                verifier=guest.verifier,
            )
        )

    def _by_transport(self, wish: TemplateWish) -> FilesBy:
        """Over the transport: the snapshot is taken with an empty drive, so that each fork can be given its own medium."""
        return self._steps.transport(wish.transport).files_by

    def _stop_between_prints(
        self, machine: Machine, prints: PrintSource, state: ResumableSource, *, replay: bool
    ) -> PrintsState:
        """Pause the guest at a moment when no print is on its way."""
        for number in range(_TRIES):
            with machine.running():
                prints.mark(f"snapshot-{number}", timeout=_PATIENCE_S)
                state.hang_up()
                machine.pause()
                # QEMU has written the guest's output; the print source may not have read it yet.
                for _ in self._until(_READ_S):
                    stopped = state.snapshot_state(replay=replay)
                    if stopped is not None:
                        return stopped
                machine.cont()
        raise SnapshotFailed(
            f"{machine.spec.name}: no snapshot can be taken between two prints, because the guest prints all the time"
        )

    def _until(self, seconds: float) -> Iterator[None]:
        """Poll: yields until the time is over."""
        deadline = self._clock() + seconds
        while self._clock() < deadline:
            yield
            self._sleep(_POLL_S)
