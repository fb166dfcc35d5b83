"""Makes a booted guest ready for tests: files in, services created."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from lab.errors import ServiceError, TransportError
from lab.guest.services import create_call
from lab.live.delivery import Delivered, usual_way
from lab.live.deployment import Deployed
from lab.live.driver_extras import import_registry, place_files
from lab.live.guest import LiveGuest
from lab.live.payload import GUEST_FOLDER, Payload, guest_path
from lab.live.verify import verify


def deploy(
    guest: LiveGuest, payload: Payload, *, read_later: bool = False, clock: Callable[[], float] = time.monotonic
) -> Deployed:
    """Copy the payload in with one transfer and create all services. Of those, only the collector of counters is started.

    Drivers are started by the test that uses them, so that every failure then belongs to that test.

    Args:
        guest: The guest.
        payload: The files. The copy compares their sums.
        read_later: All files are read and compared again before the first driver is loaded, see :attr:`LiveGuest.unread`;
            otherwise that is done here. It saves a process in each fork of the base template.
        clock: Monotonic clock in seconds.

    Raises:
        WrongBinary: A file in the guest differs from the run's file.
        GuestRefuses: The guest refuses the path of a file, or registry values.
        TransportError: The copy failed, or the guest refused to create a service: an error of the lab, because no driver has
            run yet.
    """
    begin = clock()
    with tempfile.TemporaryDirectory(prefix="lab-payload-") as scratch:
        stage = payload.stage(Path(scratch) / "run")
        if guest.delivery is None:
            guest.transport.put(stage, GUEST_FOLDER)
            done = Delivered(by=usual_way(guest.transport), copied=len(payload.files()))
        else:
            done = guest.delivery.put(stage, GUEST_FOLDER, update=guest.prepared)
    guest.probe = payload.probe
    place_files(guest.transport, payload)
    sums: Mapping[str, str] = payload.sums()
    if read_later:
        guest.unread = sums
    else:
        sums = verify(guest.transport, sums, tools_dir=guest.manifest.tools_dir)
    copied = clock()
    calls = [
        create_call(driver.service, guest_path(driver.image), group=driver.load_order_group)
        for driver in payload.packages
        if not driver.inf  # its INF creates the service
    ]
    if calls:
        try:
            for reply in guest.services.batch(calls):
                reply.check()
        except ServiceError as error:
            raise TransportError(f"{guest.guest_id}: a service cannot be created: {error.message}", hint=error.hint) from error
    if payload.collector is not None:
        try:
            guest.services.start(payload.collector.service)
        except ServiceError as error:
            said = f"{guest.guest_id}: the driver that collects the counters of drivers cannot be loaded: {error.message}"
            raise TransportError(said, hint="run without --coverage") from error
    for driver in payload.drivers.values():
        import_registry(guest.transport, driver)
    return Deployed(copy_s=copied - begin, create_s=clock() - copied, copied_by=done.by, copy_note=done.note, sums=sums)
