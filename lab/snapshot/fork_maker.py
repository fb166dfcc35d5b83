"""Makes one fork: a VM restored from a template, resumed, with the run's files in it.

:class:`ForkSteps` has its operations on VM and guest, so that another caller, or a test, can pass in its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lab.errors import ConfigError, LabError
from lab.host.passed import passed_over
from lab.host.spare import Spare, WaitingProcess
from lab.image.manifest import ImageManifest
from lab.live.boot import cd_drive
from lab.live.cd_drive import CdCopy
from lab.live.deploy import deploy
from lab.live.deployment import Deployed
from lab.live.guest import LiveGuest
from lab.live.payload import Payload
from lab.live.print_wiring import start_helper
from lab.live.verifier import InForce, read_back
from lab.snapshot.fork_request import ForkFigures
from lab.snapshot.resume import continue_guest, resume_guest
from lab.snapshot.template import Template, TemplateWish
from lab.vm.cleanup import RunFolder
from lab.vm.process import WaitingSupervisor
from lab.vm.protocol import Machine
from lab.vm.snapshot import Snapshot, fork

_LOG = logging.getLogger(__name__)


class Restore(Protocol):
    """Starts a VM from a snapshot; see :func:`lab.vm.snapshot.fork`."""

    def __call__(
        self, snapshot: Snapshot, folder: Path, run_dir: Path, /, *, name: str, waiting: WaitingSupervisor | None
    ) -> Machine:
        """Return the VM, with its virtual CPUs stopped."""


class Resume(Protocol):
    """Lets a restored VM run and waits until its guest answers; see :func:`lab.snapshot.resume.resume_guest`."""

    def __call__(
        self,
        machine: Machine,
        template: Template,
        wish: TemplateWish,
        /,
        *,
        guest_id: str,
        begin: float | None,
        drive: CdCopy | None,
        helper: WaitingProcess | None,
        on_close: Callable[[bool], None],
    ) -> LiveGuest:
        """Return the guest."""


class Deploy(Protocol):
    """Copies the run's files into a guest and creates the services; see :func:`lab.live.deploy.deploy`."""

    def __call__(self, guest: LiveGuest, payload: Payload, /, *, read_later: bool, clock: Callable[[], float]) -> Deployed:
        """Return what was copied."""


class Continue(Protocol):
    """Lets a paused fork run again; see :func:`lab.snapshot.resume.continue_guest`."""

    def __call__(self, machine: Machine, live: LiveGuest, /) -> None:
        """Return once the guest's clock is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkSteps:
    """The steps of a fork, in this order; ``continue_guest`` only for a fork that was paused until it was needed."""

    restore: Restore = fork
    resume: Resume = resume_guest
    deploy: Deploy = deploy
    continue_guest: Continue = continue_guest
    #: Before there is a fork: see :func:`lab.live.print_wiring.start_helper`.
    start_helper: Callable[[ImageManifest], WaitingProcess | None] = start_helper


#: The steps for real VMs and guests.
FORK_STEPS = ForkSteps()


@dataclass(slots=True, kw_only=True)
class MadeFork:
    """A fork that has answered its first command."""

    template: Template
    machine: Machine
    live: LiveGuest

    def end(self) -> None:
        """End its VM and close the guest, in any state."""
        # The connection is dropped without a goodbye: a paused guest would not answer.
        with passed_over(_LOG, f"{self.live.guest_id}: ending a fork that was not used", LabError, OSError):
            self.machine.kill()
        self.live.close()


class ForkMaker:
    """Makes the forks of one run.

    Args:
        base: What all templates of the run have in common; its CPUs and drivers are ignored.
        figures: Counts the forks that failed.
        runs_dir: Folder in which run folders are made.
        on_close: Called when a fork is closed, with its run folder and whether its guest keeps running.
        steps: What is done to VM and guest.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        base: TemplateWish,
        figures: ForkFigures,
        *,
        runs_dir: Path,
        on_close: Callable[[RunFolder, bool], None],
        steps: ForkSteps,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base = base
        self._figures = figures
        self._runs_dir = runs_dir
        self._on_close = on_close
        self._steps = steps
        self._clock = clock
        self._supervisor = Spare(WaitingSupervisor, "supervisor")
        self._helper = Spare(lambda: steps.start_helper(base.manifest), "print helper")

    def resumed(self, guest_id: str, wish: TemplateWish, template: Template) -> MadeFork:
        """Make a fork of a template; returns once it has answered. The files of the run are not in it yet.

        Args:
            guest_id: Its name in reports.
            wish: The request.
            template: The template.

        Raises:
            LabError: It did not resume. Its VM has ended and its run folder was closed.
        """
        begin = self._clock()
        folder = RunFolder.create(self._runs_dir, guest_id)
        machine: Machine | None = None
        # If none is ready, it starts while the VM is restored.
        self._helper.refill()
        waiting, helper = self._supervisor.take(), self._helper.take()
        try:
            machine = self._steps.restore(template.snapshot(), template.folder, folder.path, name=guest_id, waiting=waiting)
            live = self._steps.resume(
                machine,
                template,
                wish,
                guest_id=guest_id,
                begin=begin,
                # Before the guest runs: it has noticed the medium by the time it answers its first command.
                drive=self._insert(machine) if self._delivers(template) else None,
                helper=helper,
                on_close=lambda kept: self._on_close(folder, kept),
            )
        except BaseException:
            self._figures.failed += 1
            _LOG.warning("%s: a fork of %s did not resume", guest_id, template.name, exc_info=True)
            for process in (waiting, helper):
                if process is not None:
                    process.close()
            if machine is not None:
                with passed_over(_LOG, f"{guest_id}: ending the VM of a fork that did not resume", LabError):
                    if machine.alive:
                        machine.kill()
                machine.close()
            self._on_close(folder, False)
            raise
        if live.verifier is not None:
            self._read_verifier(live, live.verifier)
        return MadeFork(template=template, machine=machine, live=live)

    def _read_verifier(self, live: LiveGuest, made: InForce) -> None:
        """Have a fork say itself what Driver Verifier checks in it, before a driver is loaded there.

        Raises:
            LabError: It does not check what the template's guest checked; the fork was closed.
        """
        try:
            live.verifier = read_back(live.transport, made)
        except BaseException:
            self._figures.failed += 1
            live.close()
            raise

    def deliver(self, made: MadeFork) -> None:
        """Copy the run's files in and create the services, unless its template has them.

        Raises:
            LabError: That failed; the fork was closed.
        """
        if not self._delivers(made.template):
            return
        try:
            made.live.deployed = self._steps.deploy(made.live, self._base.payload, read_later=True, clock=self._clock)
        except BaseException as error:
            if not isinstance(error, ConfigError):
                self._figures.failed += 1
            made.live.close()
            raise

    def continue_guest(self, made: MadeFork) -> None:
        """Let a paused fork run again.

        Raises:
            LabError: The fork does not answer.
        """
        self._steps.continue_guest(made.machine, made.live)

    def refill(self) -> None:
        """Start in advance what the next fork would wait for: its supervisor, and the process of its print channel, if any."""
        self._supervisor.refill()
        self._helper.refill()

    def close(self) -> None:
        """End what was started in advance. Existing forks stay. Idempotent."""
        self._supervisor.close()
        self._helper.close()

    def _delivers(self, template: Template) -> bool:
        """Whether forks of this template get the run's files; a run may have no drivers at all."""
        return template.base and not self._base.is_base

    def _insert(self, machine: Machine) -> CdCopy | None:
        """Put the run's files into the CD drive of a fork that lacks them; if that fails, the later copy reports it."""
        if self._base.files_by != "media" or not self._base.manifest.machine.cd_drives:
            return None
        drive = cd_drive(machine, self._base.manifest)
        try:
            if drive is not None:
                drive.insert({file.name: file for file in self._base.payload.files()})
        except LabError as error:
            _LOG.warning("no ISO in the CD drive before the fork resumes: %s", error.message)
        return drive
