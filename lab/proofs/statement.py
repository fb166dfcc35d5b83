"""A statement about Windows that the lab relies on, and the seams between a proof and what it needs of the lab.

A proof asks a :class:`Bench` for what it needs, at the moment when it needs it: a guest is booted for the first proof that asks
for one. What the lab cannot provide is an error of the lab (:class:`lab.errors.LabError`), and the statement is then not
reached. Only an answer of Windows proves or refutes a statement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from lab.guest.protocol import CommandResult, Transport
from lab.image.manifest import ImageManifest
from lab.image.windows.image_record import ImageRecord
from lab.image.windows.install_events import InstallEvent
from lab.image.windows.recipe import Windows, WindowsRecipeFile
from lab.vm.protocol import StartableMachine
from lab.vm.spec import Accelerator

#: What a proof uses, in the order in which statements are reached: what needs less comes first.
#: ``build``: the finished image and its record; ``guest``: a guest that is up; ``kd``: one with its kernel debugger on; ``vm``:
#: a virtual machine of its own, which it may end, reset and boot again; ``run``: `lab run`, with the suites of this
#: repository; ``person``: a person who looks, or has a package of their own.
Need = Literal["build", "guest", "kd", "vm", "run", "person"]
NEEDS: tuple[Need, ...] = ("build", "guest", "kd", "vm", "run", "person")
T = TypeVar("T")
State = Literal["proved", "refuted", "not reached"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a statement.

    Attributes:
        state: ``not reached``: nothing is known of it, and ``said`` says why.
        said: What Windows answered, in short; for people.
    """

    state: State
    said: str = ""


class OwnMachine(Protocol):
    """A virtual machine of the image for one proof. Its guest may restart, crash and be killed."""

    @property
    def machine(self) -> StartableMachine:
        """The VM that runs now."""

    @property
    def transport(self) -> Transport:
        """The connection to its guest, as of the last time that it was ready."""

    def wait_ready(self) -> Transport:
        """Wait until its guest answers (again), and connect anew.

        Raises:
            BootTimeout: It does not answer in the image's boot time.
            GuestExited: Its VM ended.
        """

    def boot_again(self) -> Transport:
        """Start the same disk again, after the VM was killed, and wait until the guest answers."""


class Bench(Protocol):
    """What proofs get from the lab. Every method raises a LabError when the lab cannot provide it."""

    @property
    def manifest(self) -> ImageManifest:
        """The image's manifest."""

    @property
    def folder(self) -> Path:
        """The image's folder."""

    @property
    def record(self) -> ImageRecord:
        """How it was built, and what the acceptance boot found."""

    @property
    def recipe(self) -> WindowsRecipeFile:
        """Its recipe, as it is today."""

    @property
    def accelerator(self) -> Accelerator:
        """What guests run under here."""

    @property
    def events(self) -> Sequence[InstallEvent]:
        """What happened during the installation."""

    def guest(self) -> Transport:
        """A guest that is up, the same for all proofs."""

    def guest_by(self, transport: str) -> Transport:
        """The same guest by another transport."""

    def up_for(self, seconds: float) -> Transport:
        """The same guest, at least so many seconds after its boot; waits as long as necessary."""

    def debugged(self) -> Transport:
        """A guest with its kernel debugger on, the same for all proofs."""

    def own_machine(self, *, debugger_entry: bool = False) -> OwnMachine:
        """A VM of the image for this proof alone, with its guest ready. The lab ends it after the proof.

        Args:
            debugger_entry: Boot the kernel debugger's boot entry, with no debugger at its port.
        """

    def lab(self, *words: str) -> CommandResult:
        """Run a command of the lab to its end: ``lab("run", "--guest", NAME, "suites/sync")``.

        The code in the checkout, or the installed lab, that this process is. ``exit_code`` is that of the README.
        """

    def debug_lab(self, *words: str) -> CommandResult:
        """The same, with the setting ``debug: kd``."""

    def new_run_folder(self) -> Path:
        """An empty folder for ``--out`` of a run, whose report a proof reads. It stays, as evidence."""

    def once(self, find: Callable[[Bench], T]) -> T:
        """What a function finds out, called once for all proofs of this session; its error is raised each time."""

    def ask(self, question: str, by_hand: str) -> Outcome:
        """Ask the person at the terminal whether a statement holds; ``not reached`` where there is none."""


class Proof(Protocol):
    """How a statement is proved. :mod:`lab.proofs.ways` has the usual ones."""

    @property
    def needs(self) -> Need:
        """The most that it uses of the lab."""

    @property
    def by_hand(self) -> str:
        """The commands of the proof, and what is to be seen, for people: Markdown, one line."""

    def prove(self, bench: Bench) -> Outcome:
        """Find out.

        Raises:
            CommandFailed: A command that the statement promises to work ended with an error: it is refuted.
            LabError: The statement is not reached.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Something that the lab relies on, and that only a real Windows can prove.

    Attributes:
        id: Its name in records and options: lower case words with hyphens. Never used again for another statement.
        text: The statement: Markdown, one line, no full stop.
        proof: How it is proved.
        windows: Versions of Windows that it is about; empty: all.
        only_kvm: It is about KVM: with another accelerator it cannot be reached.
    """

    id: str
    text: str
    proof: Proof
    windows: tuple[Windows, ...] = ()
    only_kvm: bool = False

    def is_about(self, windows: Windows) -> bool:
        """It can be proved with this version of Windows."""
        return not self.windows or windows in self.windows


def proved(said: str = "") -> Outcome:
    """The statement holds."""
    return Outcome("proved", said)


def refuted(said: str) -> Outcome:
    """The statement does not hold."""
    return Outcome("refuted", said)


def not_reached(why: str) -> Outcome:
    """Nothing is known of the statement."""
    return Outcome("not reached", why)


def decided(holds: bool, said: str) -> Outcome:
    """Proved or refuted."""
    return proved(said) if holds else refuted(said)
