"""A live guest: a VM that answers commands and whose kernel prints are being drained."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.errors import ConfigError, GuestExited, LabError, TransportError
from lab.guest.protocol import Abandonable, Transport
from lab.guest.services import ServiceControl
from lab.guest.transport_kind import TransportName
from lab.host.passed import passed_over, said
from lab.image.manifest import ImageManifest
from lab.live.delivery import Delivery
from lab.live.deployment import Deployed
from lab.live.verifier import InForce
from lab.prints.record import PrintSource
from lab.prints.uptime import ask_uptime
from lab.vm.processor_time import ProcessorReading, read_processor
from lab.vm.protocol import Machine
from lab.vm.spec import Clock

_LOG = logging.getLogger(__name__)

#: Host seconds that a guest may take to answer, beside those in which it waits.
_ANSWER_S = 60.0
#: Clocks of one guest differ by parts of a millisecond.
_BACK_S = 0.1
#: Longest wait for a guest's time, in seconds: 11 days. The guest's print agent reads six digits.
_LONGEST_S = 999_999


@dataclass(slots=True, kw_only=True)
class LiveGuest:
    """A booted guest, ready for commands.

    Attributes:
        guest_id: Names this boot in reports and markers.
        manifest: The image that it was made from.
        machine: The VM.
        transport: The open transport; one thread at a time.
        prints: Its print source, draining since the first byte.
        smp: Its virtual CPUs.
        boot_s: Host seconds from starting QEMU to the first answered command.
        run_dir: Its logs, overlays and sockets; None where it has none.
        template: Key of the template that it is a fork of; empty after a boot. ``boot_s`` then counts from starting QEMU, or
            from resuming a fork that was ready.
        loaded: Drivers that were loaded when the template's snapshot was taken.
        probe: Windows path of the run's ``drvprobe.exe``, once it is in the guest; empty if the run has none.
        open_transport: Opens another transport by name.
        delivery: How files get into it; None: over its transport.
        kept_as: Its name in the register of guests that may outlive this process; empty where it is not registered.
        prepared: It is a copy of a guest that had files and services already, so that only differences are copied in.
        deployed: How the run's files got in, where that was done before it was handed over; None otherwise.
        unread: File name → SHA-256 of what was compared when it was copied in, and not read again since: to be done before a
            driver is loaded.
        read_processor: Reads how long its VM has waited for a processor; None: from the threads of ``machine``.
        verifier: What Driver Verifier checks in it; None: it is off.
        on_close: Called once at the end, after everything else is closed, with whether the VM keeps running.
    """

    guest_id: str
    manifest: ImageManifest
    machine: Machine
    transport: Transport
    prints: PrintSource
    smp: int
    boot_s: float
    run_dir: Path | None = None
    template: str = ""
    loaded: frozenset[str] = frozenset()
    probe: str = ""
    open_transport: Callable[[TransportName], Transport]
    delivery: Delivery | None = None
    kept_as: str = ""
    prepared: bool = False
    deployed: Deployed | None = None
    unread: Mapping[str, str] = field(default_factory=dict)
    read_processor: Callable[[], ProcessorReading | None] | None = None
    verifier: InForce | None = None
    on_close: Callable[[bool], None] = lambda _kept: None
    _closed: bool = field(default=False, init=False)

    @property
    def services(self) -> ServiceControl:
        """Driver services of this guest, over its transport."""
        return ServiceControl(self.transport, probe=self.probe, sleep=self.sleep)

    @property
    def clock(self) -> Clock:
        """``virtual``: the guest's time passes only while a caller waits for the guest; else ``real``."""
        return "real" if self.machine.spec.virtual_clock is None else "virtual"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """A guest with a virtual clock runs inside of the ``with``; with a real clock it always does.

        Commands, copies, markers and waits for prints do this by themselves. What talks to the guest otherwise, for example to
        a forwarded port, does not.
        """
        with self.machine.moment.passing(), self.machine.running():
            yield

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass in the guest. With a virtual clock they take the host a small part of that.

        With a virtual clock, they count from the last event that the test has seen: the answer to a command, a print that it
        expected, the end of another wait. A guest whose time is past their end already does not run.

        Raises:
            EvidenceLost: The guest did not answer afterwards; with a virtual clock only.
            ConfigError: It is not a time that can be waited for.
        """
        if not 0 <= seconds <= _LONGEST_S:
            raise ConfigError(f"guest.sleep({seconds}): not a number of seconds from 0 to {_LONGEST_S}")
        if self.clock == "real":
            threading.Event().wait(seconds)
            return
        timer = self.prints.timer
        if timer is None:
            raise ConfigError(f"print channel {self.prints.name} has no timer in the guest", hint="use `clock: real`")
        if not seconds:
            return
        moment = self.machine.moment
        with self.machine.running():
            now = ask_uptime(self.prints)
            begin = moment.at
            if now is None or begin is None or begin > now + _BACK_S:  # the last: the guest has started again
                begin = now
            left = seconds if now is None or begin is None else begin + seconds - now
            if left > 0:
                timer.sleep(left, timeout=_ANSWER_S + 10 * left)
        moment.reached(None if begin is None else begin + seconds)

    def run_until(self, condition: Callable[[], bool], *, guest_timeout: float = 10.0, every: float = 0.1) -> bool:
        """Let the guest run until something holds.

        Args:
            condition: Looked at first, and each time the guest has run for a while. Where it asks the guest, that runs, too.
            guest_timeout: Seconds of the guest after which it is given up.
            every: Guest seconds between two looks.

        Returns:
            Whether it came to hold.
        """
        if every <= 0:
            raise ConfigError(f"guest.run_until(every={every}): the guest's time must pass between two looks")
        passed = 0.0
        while not condition():
            if passed >= guest_timeout:
                return False
            self.sleep(min(every, guest_timeout - passed))
            passed += every
        return True

    @property
    def capabilities(self) -> frozenset[str]:
        """What this guest can do, see :mod:`lab.guest.capability`."""
        return frozenset(self.manifest.capabilities)

    @property
    def alive(self) -> bool:
        """Whether the VM runs. Its guest may hang."""
        return not self._closed and self.machine.alive

    def processor_reading(self) -> ProcessorReading | None:
        """How long its VM has waited for a processor of the host until now; None if it is not known."""
        if self.read_processor is not None:
            return self.read_processor()
        return read_processor(self.machine.pid) if self.alive else None

    def answers(self, *, timeout: float = 20.0) -> bool:
        """Whether the guest still runs a trivial command."""
        if not self.alive:
            return False
        try:
            return self.transport.run("echo lab", timeout=timeout).text.strip() == "lab"
        except LabError as error:
            _LOG.info("%s: no answer to a trivial command: %s", self.guest_id, said(error))
            return False

    @contextlib.contextmanager
    def open(self, name: TransportName) -> Iterator[Transport]:
        """Another connection to the same guest, closed at the end of the ``with``.

        Raises:
            TransportError: The image does not offer this transport, or the guest does not answer it.
        """
        transport = self.open_transport(name)
        try:
            yield transport
        finally:
            transport.close()

    def close(self, *, keep: bool = False, as_it_is: bool = False) -> None:
        """End the guest: connection, VM, print source, in this order. Safe to call twice.

        Args:
            keep: Leave a detached VM running, for a user to examine.
            as_it_is: Leave its processes running, too: those that were started over the connection would end with its shell.
        """
        if self._closed:
            return
        self._closed = True
        if isinstance(self.transport, Abandonable) and (as_it_is or not keep):
            # Its shell ends with it; deleting it first would only take time.
            self.transport.abandon()
        elif self.machine.alive:
            # On a connection to a dead VM, a close in order would wait for an answer.
            with passed_over(_LOG, f"{self.guest_id}: the connection's end", TransportError):
                self.transport.close()
        try:
            if not keep and self.machine.alive:
                self.machine.kill()
            elif self.machine.alive and self.clock == "virtual":
                # No caller would let it run for the users who examine it: its time passes quickly from here on.
                with passed_over(_LOG, f"{self.guest_id}: letting it run on", TransportError, GuestExited):
                    self.machine.cont()
            self.machine.close()
        finally:
            # After the VM: QEMU has written everything by then.
            self.prints.close()
            self.on_close(keep)
