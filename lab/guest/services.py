r"""Controls driver services with ``sc.exe``, with error codes in words; :mod:`lab.guest.scanswer` reads its answers.

Each call is started directly, without ``cmd``: in an emulated guest a cmd process costs more time than sc itself, so that two
direct calls are faster than one cmd line with both.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from typing import Literal

from lab.errors import CommandFailed, ConfigError, GuestHung, ServiceError, TransportError
from lab.guest.probe import Operation, ProbeEnded, parse_output, run_probe
from lab.guest.probelang import quote_word
from lab.guest.probescript import ProbeScript
from lab.guest.protocol import Transport
from lab.guest.scanswer import UNKNOWN_ERROR, ScReply, ServiceState, ServiceStatus, parse_status, read_reply
from lab.guest.standing import Converses

__all__ = [
    "ScReply",
    "ServiceControl",
    "ServiceState",
    "ServiceStatus",
    "create_call",
]

_LOG = logging.getLogger(__name__)

#: What drvprobe does as well as sc: its `service` calls the same functions, and reports their errors.
_BY_PROBE = ("start", "stop")

#: A full path, because a program that is started without cmd is not searched on PATH.
SC = r"C:\windows\system32\sc.exe"

NOT_ACTIVE = 1062
DOES_NOT_EXIST = 1060
ALREADY_RUNNING = 1056
#: The error of stopping a driver without DriverUnload; on an NT-like kernel also of stopping one that is stopped.
_INVALID_CONTROL = 1052
#: The error of starting a service that is still stopping.
_CANNOT_ACCEPT = 1061
_UNLOAD_S = 30.0
_HELD = "open handles and pended requests keep a driver from unloading"

#: When a driver's service starts: on request, or by the boot loader.
Start = Literal["demand", "boot"]

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,80}")


class ServiceControl:
    """Creates, starts, stops and deletes driver services in a guest.

    Args:
        transport: How to reach the guest.
        program: Windows path of the guest's sc.
        probe: Windows path of ``drvprobe.exe``. If the transport can leave it running, it starts and stops services and
            tells their state, which saves a process for each. Empty: sc does all.
        timeout: Seconds for one sc call; a start or stop that takes longer raises ``GuestHung``.
        poll_s: Seconds between two queries of a state.
        clock: Monotonic seconds.
        sleep: Sleeps for some seconds.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        program: str = SC,
        probe: str = "",
        timeout: float = 60,
        poll_s: float = 0.2,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport = transport
        self._program = program
        self._probe = probe
        self._timeout = timeout
        self._poll_s = poll_s
        self._clock = clock
        self._sleep = sleep

    def create(self, name: str, image_path: str, *, group: str = "") -> None:
        """Create a kernel driver service that is started on demand.

        Args:
            name: Service name.
            image_path: Windows path of the ``.sys`` in the guest.
            group: Load-order group; drivers of one group share a host process on the free guest.
        """
        self._one(create_call(name, image_path, group=group))

    def start(self, name: str) -> None:
        """Start a driver; returns when its DriverEntry has returned."""
        self._one(("start", _checked(name)))

    def stop(self, name: str) -> None:
        """Ask a driver to unload; it is unloaded when the last handle is closed, see :meth:`wait_stopped`.

        Raises:
            ServiceError: The guest refused; always 1062 if it was not running, although guests have other errors for that.
        """
        [reply] = self.batch([("stop", _checked(name))])
        self._stop_code(name, reply).check()

    def delete(self, name: str) -> None:
        """Delete a service."""
        self._one(("delete", _checked(name)))

    def query(self, name: str) -> ServiceStatus:
        """State of a service; a missing one raises :class:`~lab.errors.ServiceError` 1060."""
        reply = self.batch([("query", _checked(name))])[0]
        if reply.code == UNKNOWN_ERROR and "STATE" not in reply.text:
            # An sc that reports no reason has only one reason for refusing a query.
            reply = ScReply(command=reply.command, code=DOES_NOT_EXIST, text=reply.text)
        return parse_status(reply.check().text)

    def state(self, name: str) -> ServiceState:
        """State of a service, by drvprobe if it stays; a missing one raises :class:`~lab.errors.ServiceError` 1060."""
        call = ("query", _checked(name))
        try:
            done = self._probed([call])
        except ProbeEnded as error:
            _LOG.warning("drvprobe ended while it asked for a service's state, and sc goes on: %s", error.message)
            done = ()
        if not done:
            return self.query(name).state
        _reply(call, done[0]).check()
        return ServiceState(done[0].returned)

    def exists(self, name: str) -> bool:
        """Whether a service with this name exists."""
        try:
            self.state(name)
        except ServiceError as error:
            if error.exit_code == DOES_NOT_EXIST:
                return False
            raise
        return True

    def install(self, name: str, image_path: str, *, group: str = "") -> None:
        """Create and start; if the start fails, the service remains."""
        for reply in self.batch([create_call(name, image_path, group=group), ("start", _checked(name))], until_error=True):
            reply.check()

    def restart(self, name: str) -> None:
        """Stop and start; a service that was not running is just started.

        Raises:
            ServiceError: The guest refused.
            GuestHung: It did not stop within half a minute.
        """
        stopped, started = self.batch([("stop", _checked(name)), ("start", name)])
        # If the guest does not report why the stop failed, the start shows it.
        if self._stop_code(name, stopped).code not in (0, UNKNOWN_ERROR, NOT_ACTIVE):
            stopped.check()
        if stopped.code == 0 and started.code in (ALREADY_RUNNING, _CANNOT_ACCEPT):
            # A program that has just ended may still have had its handle open at the time of the stop.
            self.wait_stopped(name, timeout=_UNLOAD_S)
            self.start(name)
            return
        started.check()

    def remove(self, name: str) -> None:
        """Stop and delete; a service that is stopped, or not there, is no error."""
        stopped, deleted = self.batch([("stop", _checked(name)), ("delete", name)])
        if self._stop_code(name, stopped).code not in (0, UNKNOWN_ERROR, NOT_ACTIVE, DOES_NOT_EXIST):
            stopped.check()
        if deleted.code == DOES_NOT_EXIST or (deleted.code == UNKNOWN_ERROR and not self.exists(name)):
            return
        deleted.check()

    def clear(self, name: str) -> None:
        """Stop, wait until the driver is unloaded, and delete: then the name is free. A missing service is no error.

        Windows only marks the service of a loaded driver for deletion; until it is gone, no other service can have its name
        (1072).

        Raises:
            GuestHung: The driver is not unloaded in time.
            ServiceError: It refuses to be unloaded, or the service to be deleted.
        """
        if self.exists(name):
            self.wait_stopped(name)
            self.delete(name)

    def wait_state(self, name: str, *states: ServiceState, timeout: float = 30) -> ServiceState:
        """Poll until the service is in one of ``states``.

        Raises:
            GuestHung: It is not, in time; the message names its state.
        """
        started = self._clock()
        while True:
            state = self.state(name)
            if state in states:
                return state
            if self._clock() - started >= timeout:
                wanted = " or ".join(one.name for one in states)
                raise GuestHung(
                    f"service {name} is {state.name} after {timeout:g} s, not {wanted}",
                    hint=_HELD,
                )
            self._sleep(self._poll_s)

    def wait_stopped(self, name: str, *, timeout: float = _UNLOAD_S) -> None:
        """Wait until a driver that was asked to unload has done so.

        The stop is sent again if it still runs: an NT-like kernel accepts the stop of a driver with an open handle, keeps it
        running, and does not unload it when the handle is closed.

        Raises:
            GuestHung: It is not unloaded in time.
            ServiceError: It refuses to be unloaded.
        """
        started = self._clock()
        while (state := self.state(name)) is not ServiceState.STOPPED:
            if self._clock() - started >= timeout:
                raise GuestHung(f"service {name} is {state.name} after {timeout:g} s, not STOPPED", hint=_HELD)
            if state is ServiceState.RUNNING:
                [reply] = self.batch([("stop", _checked(name))])
                if self._stop_code(name, reply).code not in (0, UNKNOWN_ERROR, NOT_ACTIVE, _CANNOT_ACCEPT):
                    reply.check()
            self._sleep(self._poll_s)

    def batch(self, calls: Sequence[Sequence[str]], *, until_error: bool = False) -> list[ScReply]:
        """Make several sc calls and collect how each ended.

        Args:
            calls: Argument lists for ``sc``.
            until_error: End at the first call that fails; the list of replies is shorter then.

        Returns:
            One reply per call that was made, in order.

        Raises:
            GuestHung: A call did not end in time; the later ones were not made.
        """
        if not until_error and (replies := self._by_probe(calls)):
            return replies
        replies = []
        for call in calls:
            replies.append(self._by_sc(call))
            if until_error and replies[-1].code:
                break
        return replies

    def _by_sc(self, call: Sequence[str]) -> ScReply:
        result = self._transport.run((self._program, *call), timeout=self._timeout, shell=False)
        return read_reply("sc " + " ".join(call), result)

    def _by_probe(self, calls: Sequence[Sequence[str]]) -> list[ScReply]:
        """Starts and stops, done by a drvprobe that stays; empty if sc must do them."""
        if any(call[0] not in _BY_PROBE for call in calls):
            return []
        try:
            done = self._probed(calls)
        except ProbeEnded as error:
            return self._go_on(calls, error)
        return [_reply(call, operation) for call, operation in zip(calls, done, strict=bool(done))]

    def _probed(self, calls: Sequence[Sequence[str]]) -> Sequence[Operation]:
        """What a drvprobe that stays reports of these calls; nothing if there is none, or it failed before it took them.

        Raises:
            ProbeEnded: It ended after that.
        """
        if not self._probe or not isinstance(self._transport, Converses):
            return ()
        script = ProbeScript(tuple(f"service {verb} {quote_word(name)}" for verb, name in calls))
        try:
            return run_probe(self._transport, self._probe, script, timeout=self._timeout * len(calls)).operations
        except ProbeEnded:
            raise
        except CommandFailed as error:
            _LOG.info("sc is used, because drvprobe failed: %s", error.message)
            return ()

    def _go_on(self, calls: Sequence[Sequence[str]], error: ProbeEnded) -> list[ScReply]:
        """Make the calls by sc that a drvprobe had not reported when its process ended.

        Raises:
            TransportError: It may have made one of them, so that sc's answer says nothing.
        """
        _LOG.warning("drvprobe ended while it started or stopped services, and sc goes on: %s", error.message)
        whole = error.stdout[: error.stdout.rfind("\n") + 1]
        replies = [_reply(call, operation) for call, operation in zip(calls, parse_output(whole.encode()), strict=False)]
        for index, call in enumerate(calls[len(replies) :]):
            reply = self._by_sc(call)
            verb, name = call
            if index == 0 and reply.code and self._runs(name) == (verb == "start"):
                raise TransportError(
                    f"drvprobe ended when it had to {verb} service {name}; whether it did so, or it was done before, is not "
                    f"known: {error.message}",
                )
            replies.append(reply)
        return replies

    def _stop_code(self, name: str, reply: ScReply) -> ScReply:
        """The result of a stop; if the service was not running, with the error that Windows has for that."""
        if reply.code == _INVALID_CONTROL and not self._runs(name):
            return ScReply(command=reply.command, code=NOT_ACTIVE, text=reply.text)
        return reply

    def _runs(self, name: str) -> bool:
        try:
            return self.state(name) is not ServiceState.STOPPED
        except ServiceError as error:
            if error.exit_code == DOES_NOT_EXIST:
                return False
            raise

    def _one(self, call: Sequence[str]) -> None:
        self.batch([call])[0].check()


def _reply(call: Sequence[str], operation: Operation) -> ScReply:
    return ScReply(command="sc " + " ".join(call), code=operation.error, text="")


def create_call(name: str, image_path: str, *, group: str = "", start: Start = "demand") -> tuple[str, ...]:
    """The arguments of ``sc create`` for a driver; ``type=`` and its value are two arguments, as sc wants them."""
    call = ("create", _checked(name), "type=", "kernel", "start=", start, "binPath=", image_path)
    return (*call, "group=", group) if group else call


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"not a service name: {name!r}", hint="letters, digits, dot, dash and underscore, at most 80")
    return name
