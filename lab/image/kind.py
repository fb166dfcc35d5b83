"""A kind of guest: one object that knows how its images are built, examined and booted, and how reports describe it.

The manifest that the kind's recipe writes names the print channel, the transports and the capabilities of a guest:
two images of one kind may differ in them. Everything else that differs between kinds is a member here. docs/extending.md has
an example.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from lab.guest.protocol import Transport
from lab.guest.standing import StandingProgram
from lab.host.tools import Tool
from lab.image.manifest import ImageManifest
from lab.image.progress import Progress
from lab.vm.spec import Accelerator, VmSpec

Level = Literal["ok", "warning", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestWords:
    """How reports and messages name a kind, so that results of two kinds are never mixed up.

    Attributes:
        title: The kind in a sentence: ``Windows``.
        label: The kind in brackets after a guest's name: ``not Windows``.
        about: What such a guest is, and what it cannot show; one or two sentences.
        warning: One sentence that is shown with every result of such a guest; empty where the name of the kind is enough.
    """

    title: str
    label: str
    about: str
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOption:
    """An option of ``lab image build`` that a kind adds.

    Attributes:
        flag: ``--iso``.
        help: For ``--help``; begins with the kind's title.
        metavar: What the value is called; empty: the option is a switch without one.
        many: It may be repeated.
    """

    flag: str
    help: str
    metavar: str = ""
    many: bool = False

    @property
    def name(self) -> str:
        """The option's name in :attr:`BuildRequest.options`: ``iso``."""
        return self.flag.lstrip("-").replace("-", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """An image that a user wants built.

    Attributes:
        name: The recipe's name.
        options: The kind's options by name: a path, a list of paths or a switch; those that were not given are None or False.
        cache: Cache folder; None: the user's.
        force: Build it although it is up to date.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    cache: Path | None = None
    force: bool = False


class Recipe(Protocol):
    """How one image is made."""

    @property
    def name(self) -> str:
        """Name of the image: ``wine``, ``windows-server-2022``."""

    def key(self) -> str:
        """Hash of everything that the image is made from."""

    def build(self, folder: Path, progress: Progress) -> None:
        """Make the image's files, manifest.json and credentials.json included, in an empty folder."""


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """A build whose inputs were checked.

    Attributes:
        recipe: Makes the recipe; may read large files.
        log_dir: Where the logs of the build will be; None: it leaves none.
    """

    recipe: Callable[[Progress], Recipe]
    log_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One statement about an image.

    Attributes:
        level: ``ok``, ``warning`` (it works, look at it), or ``broken`` (it does not work, or not any more).
        text: What is so.
        hint: What to try; empty when there is nothing to do.
    """

    level: Level
    text: str
    hint: str = ""


@runtime_checkable
class ForkClock(Protocol):
    """An optional addition to :class:`GuestKind`: the clock of a fork is set over the guest's transport.

    Kinds without it have print channels that set it: :meth:`lab.prints.resume.ResumableSource.resume`.
    """

    @property
    def clock_program(self) -> StandingProgram:
        """The program that sets the clock; a transport may leave it in the guest before a snapshot."""

    def set_clock(self, transport: Transport, *, timeout: float, wall: Callable[[], float]) -> float:
        """Set the guest's clock to that of the host; the guest answers commands when this returns.

        Args:
            transport: A connection to the guest.
            timeout: Seconds for all of it.
            wall: The host's wall clock in seconds.

        Returns:
            Seconds by which it was set forward.

        Raises:
            CommandFailed: The guest refused it.
            TransportError: It does not answer, or its clock is wrong afterwards.
            GuestHung: A command did not end in time.
        """


class GuestKind(Protocol):
    """One kind of guest. An entry point of the group ``driver_test_lab.guest_kinds`` names such an object.

    :class:`lab.image.selfbuilt.SelfBuilt` has most of it, for kinds whose images the lab builds by itself.
    """

    @property
    def words(self) -> GuestWords:
        """How reports describe it."""

    @property
    def confirmations(self) -> int:
        """Answers in a row that count as ready after a boot."""

    @property
    def virtual_clock(self) -> int | None:
        """Its guests work with a virtual clock that counts 2 to this power ns for each instruction; None: they do not.

        Such a kind's print channel has a timer in the guest: :attr:`lab.prints.record.PrintSource.timer`.
        """

    @property
    def gdb(self) -> bool:
        """QEMU's gdb stub can show the source of its drivers; if not, a debugger gets the port of its kernel debugger."""

    @property
    def builds_itself(self) -> bool:
        """A run builds a missing image by itself; False: the user must supply the inputs."""

    @property
    def build_source(self) -> str:
        """Where the user gets these inputs, for people; empty for a kind that the lab builds by itself."""

    @property
    def build_tools(self) -> tuple[Tool, ...]:
        """Programs that a build by the lab itself needs on the host."""

    @property
    def build_options(self) -> tuple[BuildOption, ...]:
        """Options of ``lab image build`` for this kind."""

    def recipe_names(self) -> tuple[str, ...]:
        """Names of its images."""

    def recipe(self, name: str) -> Recipe:
        """The recipe of an image that needs nothing from the user.

        Raises:
            ConfigError: There is none of this name, or it needs something.
        """

    def build_command(self, name: str) -> str:
        """The command by which a user builds the image."""

    def order(self, request: BuildRequest) -> BuildOrder:
        """Check what the user gave, before any step that takes time.

        Raises:
            LabError: Something is wrong with it, or this host cannot build it.
        """

    def extra_files(self, manifest: ImageManifest) -> tuple[str, ...]:
        """Files of an image beside those that its manifest names."""

    def is_current(self, folder: Path, manifest: ImageManifest) -> bool:
        """The image is what its recipe makes today.

        Raises:
            LabError, OSError, ValueError: That cannot be known.
        """

    def examine(
        self, folder: Path, manifest: ImageManifest, *, now: datetime.datetime, verify: bool = False
    ) -> Iterator[Finding]:
        """What `lab image doctor` says of an image beside whether it is complete.

        Args:
            folder: The image's folder.
            manifest: Its manifest.
            now: The present time.
            verify: Read all of its disks, too.
        """

    def machine(
        self, manifest: ImageManifest, image_dir: Path, *, name: str, accelerator: Accelerator, smp: int | None
    ) -> VmSpec:
        """The VM of a guest, without CD drives, the ports of its prints, and what happens when the guest ends.

        Args:
            manifest: The image's.
            image_dir: Its folder.
            name: For process lists and messages.
            accelerator: One that works.
            smp: Virtual CPUs; None for the image's own number.

        Raises:
            ImageError: A file of the image is missing.
        """
