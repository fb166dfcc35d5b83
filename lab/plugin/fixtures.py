"""The fixtures: the guest, its drivers and clients, and what the kernel printed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

import pytest

from lab.errors import SuiteError
from lab.plugin.keys import SESSION, options_of
from lab.plugin.options import LabConfig

# What a fixture needs is imported when a test uses it; see lab.plugin.hooks.
if TYPE_CHECKING:
    from lab.guest.protocol import CommandResult
    from lab.live.guest import LiveGuest
    from lab.plugin.drivers import LoadedDriver
    from lab.plugin.reader import DeviceReader
    from lab.plugin.session import LabSession
    from lab.prints.stream import PrintStream

#: The fixtures that need a guest; a test that uses one of them is a lab test.
GUEST_FIXTURES = frozenset({"guest", "drivers", "driver", "lab_driver", "reader", "client", "lab_client", "prints"})


class Client(Protocol):
    """Runs a client program in the guest; the value of the ``client`` fixture."""

    def __call__(self, name: str, *arguments: str, timeout: float | None = None, stdin: bytes = b"") -> CommandResult:
        """Run it and wait for its end.

        Args:
            name: A client of the driver's manifest, for example ``sync_reader``.
            arguments: Its arguments.
            timeout: Seconds until it is terminated and GuestHung raised; by default `client_timeout`, a minute.
            stdin: Its standard input.
        """


def _session(request: pytest.FixtureRequest) -> LabSession:
    return request.config.stash[SESSION]


@pytest.fixture(scope="session")
def lab_config(request: pytest.FixtureRequest) -> LabConfig:
    """The lab's options in force."""
    return options_of(request.config)


@pytest.fixture
def guest(request: pytest.FixtureRequest) -> LiveGuest:
    """This worker's guest: booted when first needed, and replaced after a test that damaged it."""
    return _session(request).lease().guest


@pytest.fixture
def drivers(request: pytest.FixtureRequest, guest: LiveGuest) -> Iterator[Mapping[str, LoadedDriver]]:
    """The drivers of the test's ``lab_driver`` marker by name, loaded; all drivers of the run without the marker."""
    from lab.plugin.drivers import LoadedDriver, unload_users

    session = _session(request)
    run = session.running()
    lease = session.lease()
    payload = session.source.payload
    names = run.wishes.drivers or tuple(payload.drivers)
    run.use_drivers(names)
    order = payload.load_order(names)
    loaded = {name: LoadedDriver(payload.driver(name), lease) for name in dict.fromkeys((*names, *order))}
    # Unloaded after the test that used it, not before the next one: an unload that fails is a failure of this test.
    with contextlib.ExitStack() as behind:
        if run.wishes.reload:
            unload_users(order, payload, lease)
        for one in (loaded[name] for name in order):
            behind.callback(session.leave_driver, one)
            if one.prepare(fresh=run.wishes.reload) and run.stream is not None:
                run.stream.note_load()
        if "prints" in request.fixturenames and run.stream is not None:
            run.stream.end_load()  # before any other fixture of the test uses them
        yield loaded


@pytest.fixture
def lab_driver(request: pytest.FixtureRequest, drivers: Mapping[str, LoadedDriver]) -> LoadedDriver:
    """The loaded driver of the test's ``lab_driver`` marker; the first one when it names several."""
    if not _session(request).running().wishes.drivers:
        raise SuiteError("the driver fixture needs @pytest.mark.lab_driver(name)")
    return next(iter(drivers.values()))


@pytest.fixture
def reader(request: pytest.FixtureRequest, guest: LiveGuest, lab_driver: LoadedDriver) -> DeviceReader:
    """Works on the driver's first link: reads, writes, device controls, flushes, and scripts of them."""
    from lab.guest.probe import PROBE_CLIENT
    from lab.plugin.reader import DeviceReader

    if not lab_driver.package.links:
        raise SuiteError(f"driver {lab_driver.name} has no link to open", hint="add `links:` to its driver.yaml")
    payload = _session(request).source.payload
    if PROBE_CLIENT not in payload.clients:
        raise SuiteError(
            f"no driver of this run has the client {PROBE_CLIENT}", hint=f"add `clients: [{PROBE_CLIENT}]` to its driver.yaml"
        )
    timeout = _session(request).config.client_timeout
    return DeviceReader(guest.transport, payload.client_path(PROBE_CLIENT), lab_driver.package.links[0], timeout=timeout)


@pytest.fixture
def lab_client(request: pytest.FixtureRequest, guest: LiveGuest) -> Client:
    """Runs a client program of the drivers in the guest."""
    session = _session(request)
    if session.running().wishes.drivers:
        request.getfixturevalue("drivers")

    def run(name: str, *arguments: str, timeout: float | None = None, stdin: bytes = b"") -> CommandResult:
        path = session.source.payload.client_path(name)
        seconds = timeout or session.config.client_timeout
        return guest.transport.run([path, *arguments], timeout=seconds, stdin=stdin, shell=False)

    return run


@pytest.fixture
def prints(request: pytest.FixtureRequest, guest: LiveGuest) -> PrintStream:
    """The kernel prints of this test."""
    session = _session(request)
    if session.running().wishes.drivers:
        request.getfixturevalue("drivers")
    stream = session.running().stream
    assert stream is not None
    del guest
    stream.end_load()
    return stream
