"""A loaded driver as tests see it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence

from lab.errors import GuestHung, GuestLacks, LabError, ServiceError, SuiteError, WrongBinary
from lab.guest.pnp import install_package, remove_package
from lab.guest.scanswer import UNKNOWN_ERROR
from lab.guest.services import ALREADY_RUNNING, DOES_NOT_EXIST, NOT_ACTIVE, ServiceState
from lab.lease.lease import Lease
from lab.live.payload import GUEST_FOLDER, Payload
from lab.live.verify import verify
from lab.toolchain.select import DriverPackage

#: How long a driver may stay in STOP_PENDING before its unload has failed.
UNLOAD_S = 30.0


class LoadedDriver:
    """A driver in the guest of the test.

    Args:
        package: The driver.
        lease: The guest in use.
        clock: Monotonic clock in seconds.
    """

    def __init__(self, package: DriverPackage, lease: Lease, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.package = package
        self._lease = lease
        self._clock = clock
        #: Name of its package in the guest's driver store, once it was installed.
        self._published = ""

    def __repr__(self) -> str:
        return f"<driver {self.name}, service {self.service}>"

    @property
    def name(self) -> str:
        """Its name in markers."""
        return self.package.name

    @property
    def service(self) -> str:
        """Name of its service."""
        return self.package.service

    def start(self) -> None:
        """Load it.

        Raises:
            ServiceError: The guest refused; ``exit_code`` is the Windows error.
            WrongBinary: The file in the guest is not the driver of this run.
        """
        self._verify()
        begin = self._clock()
        self._install()
        try:
            self._lease.guest.services.start(self.service)
        except ServiceError as error:
            # Windows starts the driver of a package itself, as soon as a device needs it.
            if not self._published or error.exit_code != ALREADY_RUNNING:
                raise
        self._loaded(begin)

    def stop(self) -> None:
        """Ask it to unload; with open handles it stays in ``STOP_PENDING`` until they are closed.

        Raises:
            ServiceError: The guest refused; 1062 when it was not running.
        """
        self._lease.note_unloading(self.name)
        self._lease.guest.services.stop(self.service)
        self._lease.note_unloaded(self.name)

    def reload(self) -> None:
        """Unload and load it again; the file is compared as in :meth:`start`."""
        self._verify()
        begin = self._clock()
        self._lease.note_unloading(self.name)
        self._lease.note_unloaded(self.name)
        self._lease.guest.services.restart(self.service)
        self._loaded(begin)

    def state(self) -> ServiceState:
        """Its present state, from the service manager."""
        return self._lease.guest.services.state(self.service)

    def wait_state(self, *states: ServiceState, timeout: float = UNLOAD_S) -> ServiceState:
        """Wait until it is in one of ``states``; GuestHung after ``timeout`` seconds."""
        return self._lease.guest.services.wait_state(self.service, *states, timeout=timeout)

    def wait_unloaded(self, *, timeout: float = UNLOAD_S) -> None:
        """Wait until it is unloaded, after it was stopped and its handles were closed; it is stopped again if it still runs.

        An NT-like kernel forgets a stop that came under an open handle. GuestHung after ``timeout`` seconds.
        """
        self._lease.guest.services.wait_stopped(self.service, timeout=timeout)

    def prepare(self, *, fresh: bool) -> bool:
        """Make sure that it is loaded before a test, afresh if that is wanted. For the fixtures.

        In a fork whose template had it loaded, it is as it was then, with its prints: there is nothing to do.

        Returns:
            Whether this call loaded it.
        """
        if self.name not in self._lease.loaded:
            try:
                self.start()
            except ServiceError as error:
                if error.exit_code != ALREADY_RUNNING:
                    raise
                self.reload()  # the kernel forgot the stop after an earlier test, see wait_unloaded
            return True
        if fresh and not self._lease.freshly_loaded(self.name):
            self.reload()
            return True
        return False

    def leave(self, *, wait: bool = False) -> None:
        """Unload it after a test; one that is not loaded any more is fine. For the fixtures.

        Args:
            wait: Until it is unloaded, on every guest.

        Raises:
            ServiceError: It refuses to unload; the guest is replaced.
            SuiteError: Its service is gone: the test, or a program that it started, has deleted it; the guest is replaced.
        """
        if self._published:
            self._uninstall()
            return
        if self.name not in self._lease.loaded:
            return
        try:
            self.stop()
            if wait or "unload_waits_for_handles" in self._lease.guest.capabilities:
                # There the stop returns while a client that was just ended still has its handle.
                self.wait_unloaded()
        except ServiceError as error:
            if error.exit_code == NOT_ACTIVE:
                self._lease.note_unloaded(self.name)
                return
            self._condemn(error)
            if self._is_gone(error):
                raise SuiteError(
                    f"a program removed the service {self.service} of driver {self.name} during this test",
                    hint="a program that installs its driver itself also deletes it: let it only open the device;"
                    " the lab loads the driver",
                ) from None
            raise
        except GuestHung as error:
            self._condemn(error)
            raise

    def _install(self) -> None:
        """Let Windows install its package, if it is one: the INF creates the service."""
        if not self.package.inf or self._published:
            return
        guest = self._lease.guest
        if "pnp" not in guest.capabilities:
            raise GuestLacks(
                "pnp", f"driver {self.name} is a package ({self.package.inf}), and this guest cannot install packages"
            )
        self._published = install_package(guest.transport, f"{GUEST_FOLDER}\\{self.package.inf}")

    def _uninstall(self) -> None:
        """Stop it, if it can be stopped, and remove its package from the guest."""
        self._lease.note_unloading(self.name)
        self._lease.note_unloaded(self.name)
        published, self._published = self._published, ""
        try:
            with contextlib.suppress(ServiceError):  # a driver of a device is unloaded with its device
                self._lease.guest.services.stop(self.service)
            remove_package(self._lease.guest.transport, published)
        except LabError as error:
            self._condemn(error)
            raise

    def _verify(self) -> None:
        """Its file may have been changed since it was copied in, by a test or by the driver itself."""
        guest = self._lease.guest
        wanted = {**guest.unread, self.package.image.name: self.package.sha256}
        try:
            verify(guest.transport, wanted, tools_dir=guest.manifest.tools_dir)
            guest.unread = {}
        except WrongBinary as error:
            self._lease.condemn(error.message.splitlines()[0])
            raise

    def _loaded(self, begin: float) -> None:
        self._lease.note_loaded(self.name, seconds=self._clock() - begin)

    def _is_gone(self, error: ServiceError) -> bool:
        """Whether the service was refused because there is none; the free guest's sc does not always report why."""
        if error.exit_code == UNKNOWN_ERROR:
            return not self._lease.guest.services.exists(self.service)
        return error.exit_code == DOES_NOT_EXIST

    def _condemn(self, error: LabError) -> None:
        self._lease.condemn(f"driver {self.name} did not unload: {error.message}")


def unload_users(order: Sequence[str], payload: Payload, lease: Lease) -> None:
    """Unload drivers that are to be loaded afresh and are used by other loaded drivers: the users first.

    A driver whose file objects or callbacks another one holds cannot be unloaded before that one, or its unload crashes the
    kernel. Drivers without such a relation stay, and :meth:`LoadedDriver.prepare` reloads them with one command.

    Args:
        order: The drivers of a test that are to be fresh.
        payload: All drivers of the run.
        lease: The guest in use.

    Raises:
        ServiceError: One refuses to unload; the guest is replaced.
    """
    used = {name for name in order if name in lease.loaded and not lease.freshly_loaded(name)}
    below = {name: set(payload.load_order([name])) for name in payload.drivers if name in lease.loaded}
    going = {name for name, needed in below.items() if needed & used}
    if any(below[name] & going != {name} for name in going):
        for name in reversed(payload.load_order(sorted(going))):
            if name in going:
                LoadedDriver(payload.driver(name), lease).leave(wait=True)
