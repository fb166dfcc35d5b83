"""Detached guests: one small file for each in the state folder, and the connection to them.

The files hold no secrets (credentials stay in the image's folder), but only the user may write them: they decide which process
``lab down`` ends.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from pydantic import TypeAdapter, ValidationError

from lab.errors import ConfigError, GuestExited, TransportError
from lab.guest.protocol import Transport
from lab.guest.transport_kind import GuestAccess, TransportName, transport_kind
from lab.host.passed import passed_over, said
from lab.image.folder import read_credentials, read_manifest
from lab.live.connect import access
from lab.live.machine_spec import machine_spec
from lab.vm.machine import VirtualMachine
from lab.vm.process import QemuProcess
from lab.vm.protocol import Machine
from lab.vm.started import read_started

_LOG = logging.getLogger(__name__)

#: The start time of a process, read twice, differs by rounding at most.
_SAME_START_S = 1.0
_END_S = 15.0
#: QEMU's monitor answers within milliseconds, or not before its present client has left.
_MONITOR_S = 2.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,60}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachedGuest:
    """A running guest that outlives the command which booted it.

    Attributes:
        name: Its name for users.
        guest: The image's one-line description.
        image_dir: Folder of its image, where its credentials are.
        run_dir: Its overlay, sockets and logs.
        pid: QEMU's process id.
        pid_started: When that process started, seconds since the epoch: a process id alone may be another's by now.
        ports: Guest port -> port of 127.0.0.1.
        transport: How commands reach it by default.
        created: Seconds since the epoch.
        encoding: Of the texts that its drivers print; empty for its image's own.
        template: Key of the template that it is a fork of; empty for one that was booted.
        loaded: Drivers that were loaded in the template.
    """

    name: str
    guest: str
    image_dir: Path
    run_dir: Path
    pid: int
    pid_started: float
    ports: Mapping[int, int] = field(default_factory=dict)
    transport: TransportName = "winrm"
    created: float = 0.0
    encoding: str = ""
    template: str = ""
    loaded: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        """QEMU of this guest, and no other process of the same id, runs."""
        started = process_start(self.pid)
        return started is not None and abs(started - self.pid_started) <= _SAME_START_S


_ADAPTER = TypeAdapter(DetachedGuest)


class DetachedGuests:
    """The register of detached guests.

    Args:
        folder: Holds one JSON file for each guest; made when it is missing, private to the user.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def all(self) -> list[DetachedGuest]:
        """The running ones by name; files of those that have ended are removed."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            guest = self._read(path)
            if guest is None or not guest.alive:
                path.unlink(missing_ok=True)
            else:
                found.append(guest)
        return found

    def find(self, name: str | None) -> DetachedGuest:
        """A guest by name, or the only one.

        Raises:
            ConfigError: There is none of this name, or none at all, or no name was given and there are several.
        """
        guests = self.all()
        names = ", ".join(guest.name for guest in guests)
        if not guests:
            raise ConfigError("no guest is running", hint="`lab up` boots one")
        if name is None:
            if len(guests) > 1:
                raise ConfigError(f"several guests are running: {names}", hint="choose one")
            return guests[0]
        for guest in guests:
            if guest.name == name:
                return guest
        raise ConfigError(f"no guest {name!r} is running; running are {names}", hint="`lab ps` lists them")

    def free_name(self, wanted: str | None, base: str) -> str:
        """The name for a new guest: the one wanted, if it is free, or the first free one made of ``base``.

        Raises:
            ConfigError: The name is taken, or not valid.
        """
        taken = {guest.name for guest in self.all()}
        if wanted is not None:
            if not _NAME.match(wanted):
                raise ConfigError(f"{wanted!r} is not a guest name", hint="letters, digits, '-', '_' and '.'")
            if wanted in taken:
                raise ConfigError(f"a guest {wanted!r} is running already", hint=f"`lab down {wanted}` ends it")
            return wanted
        numbers = (f"{base}-{number}" for number in range(2, len(taken) + 3))
        return base if base not in taken else next(name for name in numbers if name not in taken)

    def add(self, guest: DetachedGuest) -> None:
        """Register a guest; the file appears whole.

        Raises:
            ConfigError: Another one of this name was registered in the meantime.
        """
        path = self._folder / f"{guest.name}.json"
        part = self._folder / f".{guest.name}.{os.getpid()}"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_ADAPTER.dump_json(guest, indent=2))
        try:
            path.hardlink_to(part)
        except FileExistsError:
            raise ConfigError(f"a guest {guest.name!r} is running already", hint="choose another name") from None
        finally:
            part.unlink()

    def remove(self, name: str) -> None:
        """Forget a guest; one that is not known is fine."""
        (self._folder / f"{name}.json").unlink(missing_ok=True)

    @staticmethod
    def _read(path: Path) -> DetachedGuest | None:
        try:
            return _ADAPTER.validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            _LOG.warning("%s does not describe a guest: %s", path, said(error))
            return None


def process_start(pid: int) -> float | None:
    """When a process started, seconds since the epoch; None when there is none of this id."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def describe(
    name: str,
    *,
    guest: str,
    image_dir: Path,
    machine: Machine,
    transport: TransportName,
    encoding: str = "",
    template: str = "",
    loaded: tuple[str, ...] = (),
    clock: Callable[[], float] = time.time,
) -> DetachedGuest:
    """Describe the running VM of a detached guest for the register; see :class:`DetachedGuest`.

    Raises:
        GuestExited: It has ended.
    """
    started = process_start(machine.pid)
    if started is None:
        raise machine.exited_error()
    return DetachedGuest(
        name=name,
        guest=guest,
        image_dir=image_dir.absolute(),
        run_dir=machine.run_dir,
        pid=machine.pid,
        pid_started=started,
        ports=dict(machine.ports),
        transport=transport,
        created=clock(),
        encoding=encoding,
        template=template,
        loaded=loaded,
    )


def open_detached(guest: DetachedGuest, transport: TransportName | None = None) -> Transport:
    """Connect to a detached guest; the monitor is left alone, so any number of processes may be connected.

    One with a virtual clock runs from here on, see :func:`let_run`.

    Raises:
        ImageError: The image's folder is gone.
        TransportError: The image does not offer this transport.
    """
    name = transport or guest.transport
    return transport_kind(name).connect(access_detached(guest, name))


def access_detached(guest: DetachedGuest, transport: TransportName) -> GuestAccess:
    """The input of a transport to reach a detached guest; raises as :func:`open_detached`."""
    let_run(guest)
    manifest = read_manifest(guest.image_dir)
    credentials = read_credentials(guest.image_dir)
    # A VM object that is never started: it only has the ports of the running one.
    machine = VirtualMachine(machine_spec(manifest, guest.image_dir, name=guest.name, accelerator="tcg"), guest.run_dir)
    machine.ports = guest.ports
    return access(transport, manifest, credentials, machine)


def let_run(guest: DetachedGuest) -> None:
    """Let a detached guest with a virtual clock run for its next user.

    It does so already, unless the run that kept it was killed: that had stopped it between two commands. A guest that a run is
    using, whose monitor is taken, is left to that run.
    """
    what = f"guest {guest.name}: letting it run"
    with passed_over(_LOG, what, GuestExited, level=logging.DEBUG), passed_over(_LOG, what, TransportError):
        if read_started(guest.run_dir)[0].virtual_clock is None:
            return
        machine = VirtualMachine.attach(guest.run_dir, timeout=_MONITOR_S)
        try:
            if machine.status == "paused":
                machine.cont()
        finally:
            machine.close()


def end_detached(guest: DetachedGuest) -> None:
    """End a detached guest and remove its run folder. What it wrote to its disk is lost, as with every guest of the lab.

    Raises:
        GuestExited: QEMU is still there after its deadline.
    """
    process = QemuProcess.attach(guest.run_dir)
    if process is not None:
        process.kill()
        if not process.wait(_END_S):
            raise GuestExited(
                f"guest {guest.name}: QEMU (process {guest.pid}) did not end within {_END_S:g} s", hint=f"kill -9 {guest.pid}"
            )
    shutil.rmtree(guest.run_dir, ignore_errors=True)
