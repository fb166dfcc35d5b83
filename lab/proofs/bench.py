"""What proofs get from the lab, for one image on this host: its record, its guests, and commands of the lab."""

from __future__ import annotations

import datetime
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import lab
from lab.errors import ConfigError, GuestError, ImageError, LabError
from lab.guest.protocol import CommandResult, Transport
from lab.host import assets
from lab.host.passed import passed_over
from lab.host.process import run
from lab.image.manifest import ImageManifest
from lab.image.windows import files
from lab.image.windows.image_record import ImageRecord, load_record
from lab.image.windows.install_events import InstallEvent, load_events
from lab.image.windows.recipe import WindowsRecipeFile, windows_recipe
from lab.proofs.guests import GuestMaker, OwnVm, UpGuest
from lab.proofs.record import Subject
from lab.proofs.statement import Bench, Need, Outcome, OwnMachine, T, not_reached
from lab.report.outdir import timed_folder
from lab.vm.spec import Accelerator

_LOG = logging.getLogger(__name__)
#: All suites on one guest take half an hour without KVM.
_RUN_S = 4 * 3600.0
#: A guest that dies again and again proves nothing more.
_BOOTS = 3
_POLL_S = 1.0
#: Asks a person: the question and the commands by hand → the answer.
Asker = Callable[[str, str], Outcome]
#: Runs a command of the lab: its words and its environment → the result.
LabCommand = Callable[[Sequence[str], Mapping[str, str]], CommandResult]


class ImageBench:
    """The bench of one image; a :class:`lab.proofs.session.ProvingBench`.

    Args:
        folder: Folder of the image.
        manifest: Its manifest.
        accelerator: What guests run under.
        guests: Boots them.
        runs: Where runs of suites put their folders; None: where the checkout does.
        command: Runs commands of the lab; None: in a process of their own.
        asker: Asks a person; None: there is none.
        progress: Gets a line for each step within a proof.
        clock: Seconds, monotonic.
        sleep: Waits.
    """

    def __init__(
        self,
        folder: Path,
        manifest: ImageManifest,
        accelerator: Accelerator,
        guests: GuestMaker,
        *,
        runs: Path | None = None,
        command: LabCommand | None = None,
        asker: Asker | None = None,
        progress: Callable[[str], None] = lambda _text: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.accelerator: Accelerator = accelerator
        self._guests = guests
        self._runs = {"LAB_OUT": str(runs)} if runs else {}
        self._command = command or _lab_command
        self._asker = asker
        self._progress = progress
        self._clock = clock
        self._sleep = sleep
        self._up: UpGuest | None = None
        self._up_since = 0.0
        self._debugged: UpGuest | None = None
        self._own: list[OwnVm] = []
        self._boots: dict[str, int] = {}
        self._refused: dict[str, LabError] = {}
        self._found: dict[object, Any] = {}

    @property
    def record(self) -> ImageRecord:
        """See :class:`lab.proofs.statement.Bench`."""
        try:
            return load_record(self.folder)
        except (OSError, ValueError) as error:
            said = str(error).partition("\n")[0]
            raise ImageError(f"{self.folder / files.RECORD} cannot be read: {said}", hint="`lab image doctor`") from None

    @property
    def recipe(self) -> WindowsRecipeFile:
        """See :class:`lab.proofs.statement.Bench`."""
        return windows_recipe(self.manifest.name)

    @property
    def events(self) -> Sequence[InstallEvent]:
        """See :class:`lab.proofs.statement.Bench`."""
        try:
            return load_events(self.folder / files.EVENTS)
        except (OSError, TypeError) as error:
            raise ImageError(f"{self.folder / files.EVENTS} cannot be read: {error}", hint="`lab image doctor`") from None

    def guest(self) -> Transport:
        """See :class:`lab.proofs.statement.Bench`."""
        if self._up is None or not self._up.alive:
            self._end(self._up)
            self._up = None
            self._up = self._boot("guest", self._guests.up)
            self._up_since = self._clock()
        return self._up.transport

    def guest_by(self, transport: str) -> Transport:
        """See :class:`lab.proofs.statement.Bench`."""
        self.guest()
        assert self._up is not None
        return self._up.open(transport)

    def up_for(self, seconds: float) -> Transport:
        """See :class:`lab.proofs.statement.Bench`."""
        transport = self.guest()
        while (left := self._up_since + seconds - self._clock()) > 0:
            self._progress(f"the guest must be up for {seconds:.0f} s; {left:.0f} s are left")
            if self._up is None or not self._up.alive:
                raise GuestError("the guest ended by itself")
            self._sleep(min(_POLL_S, left))
        return transport

    def debugged(self) -> Transport:
        """See :class:`lab.proofs.statement.Bench`."""
        if self._debugged is None or not self._debugged.alive:
            self._end(self._debugged)
            self._debugged = None
            self._debugged = self._boot("guest with its kernel debugger on", self._guests.debugged)
        return self._debugged.transport

    def own_machine(self, *, debugger_entry: bool = False) -> OwnMachine:
        """See :class:`lab.proofs.statement.Bench`."""
        own = self._guests.own(debugger_entry=debugger_entry)
        self._own.append(own)
        return own

    def lab(self, *words: str) -> CommandResult:
        """See :class:`lab.proofs.statement.Bench`."""
        return self._run(words, {})

    def debug_lab(self, *words: str) -> CommandResult:
        """See :class:`lab.proofs.statement.Bench`."""
        return self._run(words, {"LAB_DEBUG": "kd"})

    def new_run_folder(self) -> Path:
        """See :class:`lab.proofs.statement.Bench`."""
        base = Path(self._runs["LAB_OUT"]) if self._runs else assets.data_root() / "out"
        return timed_folder(base, datetime.datetime.now(datetime.UTC), prefix="proof-")

    def once(self, find: Callable[[Bench], T]) -> T:
        """See :class:`lab.proofs.statement.Bench`."""
        if find not in self._found:
            try:
                self._found[find] = find(self)
            except LabError as error:
                self._found[find] = error
        value = self._found[find]
        if isinstance(value, LabError):
            raise value.anew()
        return cast(T, value)

    def ask(self, question: str, by_hand: str) -> Outcome:
        """See :class:`lab.proofs.statement.Bench`."""
        if self._asker is None:
            return not_reached("it needs a person: run the command in a terminal")
        return self._asker(question, by_hand)

    def keep_only(self, need: Need) -> None:
        """See :class:`lab.proofs.session.ProvingBench`."""
        while self._own:
            self._end(self._own.pop())
        if need not in ("guest", "build"):
            self._end(self._up)
            self._up = None
        if need != "kd":
            self._end(self._debugged)
            self._debugged = None

    def end_guests(self) -> None:
        """See :class:`lab.proofs.session.ProvingBench`."""
        self.keep_only("person")

    def close(self) -> None:
        """End every guest. Idempotent."""
        self.end_guests()

    def subject(self, qemu: str) -> Subject:
        """What this bench proves statements with.

        Args:
            qemu: Version of QEMU.
        """
        record = self.record
        return Subject(
            image=self.manifest.name,
            key=self.manifest.key,
            guest=self.manifest.guest,
            windows=record.acceptance.windows,
            edition=record.edition.name,
            language=self.recipe.locale,
            iso_sha256=record.iso.sha256,
            iso_label=record.iso.label,
            machine=self.manifest.machine.machine,
            firmware=self.manifest.machine.firmware,
            accelerator=self.accelerator,
            qemu=qemu,
            built_with_qemu=record.install.qemu,
            host=host_system(),
            lab=lab.__version__,
        )

    def _boot(self, what: str, boot: Callable[[], UpGuest]) -> UpGuest:
        """Boot a guest, unless that failed before in this session: each try takes minutes."""
        if what in self._refused:
            raise self._refused[what].anew()
        self._boots[what] = self._boots.get(what, 0) + 1
        if self._boots[what] > _BOOTS:
            raise GuestError(f"the {what} died {_BOOTS} times", hint="`lab up` shows why")
        self._progress(f"boot a {what}")
        try:
            return boot()
        except LabError as error:
            self._refused[what] = error
            raise

    def _end(self, guest: UpGuest | OwnVm | None) -> None:
        if guest is not None:
            with passed_over(_LOG, "ending a guest", LabError):
                guest.close()

    def _run(self, words: Sequence[str], environment: Mapping[str, str]) -> CommandResult:
        self._progress(f"lab {' '.join(words)}")
        return self._command(words, {**self._runs, **environment})


def host_system() -> str:
    """The host's distribution and kernel, for example ``Debian GNU/Linux 12 (bookworm), Linux 6.1.0``."""
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        name = ""
    return ", ".join(part for part in (name, f"{platform.system()} {platform.release()}") if part)


def _lab_command(words: Sequence[str], environment: Mapping[str, str]) -> CommandResult:
    """Run a command of this lab in a process of its own, in the checkout, which has the suites.

    Raises:
        ConfigError: This is an installed lab: it has no suites.
        HostToolError: It did not end.
    """
    if assets.installed():
        raise ConfigError("it needs a checkout of the lab, which has the suites", hint="git clone, then `bash ci/setup.sh`")
    argv = [sys.executable, "-m", "lab", *words]
    done = run(argv, _RUN_S, check=False, cwd=assets.data_root(), env={**os.environ, **environment})
    return CommandResult(
        command=" ".join(["lab", *words]),
        exit_code=done.exit_code,
        stdout=done.stdout.encode(),
        stderr=done.stderr.encode(),
        duration_s=done.duration_s,
    )
