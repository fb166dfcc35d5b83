"""Loads and unloads of a driver where sc always ends with 0, and the kernel forgets a stop while a handle is open."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.errors import ServiceError, WrongBinary
from lab.guest.protocol import CommandResult
from lab.guest.services import ServiceControl, ServiceState
from lab.lease.lease import Lease
from lab.lease.life import GuestLife
from lab.plugin.drivers import LoadedDriver
from lab.toolchain.select import DriverPackage


class NtLike:
    """Understands sc for one service.

    Attributes:
        handles: Open handles to the device: a stop is accepted then, but the driver continues to run.
        refuses: The error with which it refuses a start; 0: it does not.
    """

    name = "fake"

    def __init__(self, refuses: int = 0) -> None:
        self.running = False
        self.handles = 0
        self.refuses = refuses
        self.loads = 0
        self.file = b"mine"
        self.verbs: list[str] = []
        self.read: list[list[str]] = []

    def run(self, command: str | Sequence[str], *, timeout: float, stdin: bytes = b"", shell: bool = True) -> CommandResult:
        if "labfile" in command[0]:
            self.read.append([path.rpartition("\\")[2] for path in command[2:]])
            sums = [(hashlib.sha256(data).hexdigest(), len(data)) for data in [self.file] * len(command[2:])]
            line = "\n".join(f"{sha256}  {size}  {path}" for (sha256, size), path in zip(sums, command[2:], strict=True))
            return CommandResult(command=" ".join(command), exit_code=0, stdout=line.encode(), stderr=b"", duration_s=0)
        verb = command[1]
        self.verbs.append(verb)
        return CommandResult(command=" ".join(command), exit_code=0, stdout=self._sc(verb).encode(), stderr=b"", duration_s=0)

    def _sc(self, verb: str) -> str:
        if verb == "start":
            code = 1056 if self.running else self.refuses
            if code:
                return f"[SC] StartService FAILED {code}:\n\nNo.\n"
            self.running = True
            self.loads += 1
        if verb == "stop":
            if not self.running:
                return "[SC] ControlService FAILED 1052:\n\nNo.\n"
            self.running = self.handles > 0
        state = ServiceState.RUNNING if self.running else ServiceState.STOPPED
        return f"SERVICE_NAME: Mine\n\tTYPE : 1\n\tSTATE : {int(state)}  {state.name}\n\tWIN32_EXIT_CODE : 0  (0x0)\n"

    def put(self, source: Path, target: str, *, timeout: float = 300) -> None:
        raise NotImplementedError

    def get(self, source: str, target: Path, *, timeout: float = 300) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to do."""


@pytest.fixture
def kernel() -> NtLike:
    return NtLike()


def loaded(kernel: NtLike, *capabilities: str) -> LoadedDriver:
    """The driver in a lease of a guest with this kernel; no call waits."""

    def sleep(_seconds: float) -> None:
        kernel.handles = 0

    services = ServiceControl(kernel, sleep=sleep)
    guest: Any = SimpleNamespace(services=services, capabilities=frozenset(capabilities), transport=kernel)
    guest.manifest = SimpleNamespace(tools_dir="C:\\lab\\bin")
    guest.unread = {}
    guest.loaded = frozenset()
    ledger: Any = SimpleNamespace(windows=2)
    lease = Lease(guest, ledger, GuestLife(guest_id="gw0-1", started=0.0))
    package = DriverPackage(
        name="mine",
        service="Mine",
        image=Path("mine.sys"),
        sha256=hashlib.sha256(b"mine").hexdigest(),
        arch="x86",
        load_order_group="",
        links=(),
        clients={},
        encoding="utf-8",
    )
    return LoadedDriver(package, lease)


@pytest.mark.parametrize("code", [2, 31, 577])
def test_a_refused_load_never_counts_as_a_success(code: int) -> None:
    driver = loaded(kernel := NtLike(refuses=code))
    with pytest.raises(ServiceError) as caught:
        driver.prepare(fresh=True)
    assert caught.value.exit_code == code
    assert not kernel.running


def test_a_driver_whose_stop_was_forgotten_is_loaded_afresh_for_the_next_test(kernel: NtLike) -> None:
    driver = loaded(kernel)
    driver.prepare(fresh=True)
    kernel.handles = 1
    driver.leave()
    assert kernel.running
    kernel.handles = 0
    driver.prepare(fresh=True)
    assert (kernel.loads, driver.state()) == (2, ServiceState.RUNNING)


def test_the_lab_waits_for_an_unload_if_the_guest_waits_for_handles(kernel: NtLike) -> None:
    driver = loaded(kernel, "unload_waits_for_handles")
    driver.prepare(fresh=True)
    kernel.handles = 1
    driver.leave()
    assert not kernel.running


def test_a_stop_of_a_driver_that_is_not_loaded_is_refused_as_on_windows(kernel: NtLike) -> None:
    driver = loaded(kernel)
    with pytest.raises(ServiceError) as caught:
        driver.stop()
    assert caught.value.exit_code == 1062
    driver.start()
    kernel.running = False  # it has unloaded by itself
    driver.leave()


def test_a_reload_waits_for_a_handle_that_is_still_open(kernel: NtLike) -> None:
    driver = loaded(kernel)
    driver.start()
    kernel.handles = 1
    driver.reload()
    assert (kernel.loads, kernel.verbs[-1]) == (2, "start")


def test_files_not_verified_after_the_copy_are_verified_before_the_first_load(kernel: NtLike) -> None:
    driver = loaded(kernel)
    mine = hashlib.sha256(b"mine").hexdigest()
    driver._lease.guest.unread = {"mine.sys": mine, "reader.exe": mine}
    driver.start()
    driver.reload()
    assert kernel.read == [["mine.sys", "reader.exe"], ["mine.sys"]]


def test_a_driver_is_not_loaded_if_its_client_has_changed_in_the_guest(kernel: NtLike) -> None:
    driver = loaded(kernel)
    driver._lease.guest.unread = {"reader.exe": "00" * 32}
    with pytest.raises(WrongBinary, match=r"reader\.exe"):
        driver.prepare(fresh=True)
    assert not kernel.running
    assert driver._lease.condemned


def test_a_file_that_was_changed_in_the_guest_is_not_loaded(kernel: NtLike) -> None:
    """It used to be: the next test in the same guest then judged another driver under the old hash."""
    driver = loaded(kernel)
    driver.prepare(fresh=True)
    driver.leave()
    kernel.file = b"another"
    with pytest.raises(WrongBinary, match=r"mine\.sys has SHA-256 \w+, not \w+"):
        driver.prepare(fresh=True)
    assert kernel.loads == 1
    assert driver._lease.condemned
