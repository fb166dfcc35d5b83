r"""Driver services by ``sc.exe``, with error codes in words.

sc ends with the Win32 error as its exit code, on Windows as in the free guest's Wine 10. Older Wines end with 1 and have the
number in their own error channel only (``failed to open service 1060``); that is understood as well.

Each call is started directly, without ``cmd``: in an emulated guest a cmd process costs more time than sc itself, so that two
direct calls are faster than one cmd line with both.
"""

from __future__ import annotations

import enum
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from lab.errors import ConfigError, GuestHung, ServiceError, TransportError
from lab.guest import win32
from lab.guest.protocol import CommandResult, Transport

#: A full path, because a program that is started without cmd is not looked for everywhere.
SC = r"C:\windows\system32\sc.exe"

NOT_ACTIVE = 1062
DOES_NOT_EXIST = 1060

#: When a driver's service starts: when somebody asks for it, or by the boot loader.
Start = Literal["demand", "boot"]

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,80}")
_WINE_FAILED = re.compile(r":\w+ failed to [\w ]+? service (?:\w+ )??(\d+)\s*$", re.MULTILINE)
_FIELD = re.compile(r"^\s*([A-Z][A-Z0-9_]*)\s*:\s*(\S+)", re.MULTILINE)


class ServiceState(enum.IntEnum):
    """State of a service as the service manager numbers it."""

    STOPPED = 1
    START_PENDING = 2
    STOP_PENDING = 3
    RUNNING = 4
    CONTINUE_PENDING = 5
    PAUSE_PENDING = 6
    PAUSED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """What ``sc query`` says.

    Attributes:
        name: The service.
        state: Its state.
        exit_code: Win32 exit code of the last run; 0 fine, 1077 never started.
        service_exit_code: The service's own exit code, used when ``exit_code`` is 1066.
        pid: Process, where the guest tells (never for a driver on Windows).
    """

    name: str
    state: ServiceState
    exit_code: int
    service_exit_code: int = 0
    pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScReply:
    """The end of one sc call.

    Attributes:
        command: The call as it was sent.
        code: Win32 error, 0 for success; 1 where the guest's sc does not tell.
        text: What it wrote.
    """

    command: str
    code: int
    text: str

    def check(self) -> ScReply:
        """Return self, or raise :class:`~lab.errors.ServiceError` with the code in words."""
        if self.code:
            raise ServiceError(self.command, self.code, self.text, win32.describe(self.code), hint=win32.lookup(self.code).hint)
        return self


def parse_status(text: str) -> ServiceStatus:
    """Parse the output of ``sc query`` or ``sc queryex``, of Windows or Wine.

    Raises:
        TransportError: It is not such output.
    """
    fields: dict[str, str] = {}
    for key, value in _FIELD.findall(text):
        fields.setdefault(key, value)
    try:
        pid = int(fields["PID"]) if "PID" in fields else 0
        return ServiceStatus(
            name=fields["SERVICE_NAME"],
            state=ServiceState(int(fields["STATE"])),
            exit_code=int(fields["WIN32_EXIT_CODE"]),
            service_exit_code=int(fields.get("SERVICE_EXIT_CODE", "0")),
            pid=pid or None,
        )
    except (KeyError, ValueError) as problem:
        raise TransportError(f"`sc query` answered something else: {text.strip()[:300]!r}") from problem


class ServiceControl:
    """Creates, starts, stops and deletes driver services in a guest.

    Args:
        transport: How to reach the guest.
        program: Windows path of the guest's sc.
        timeout: Seconds for one sc call; a start or stop that takes longer raises ``GuestHung``.
        poll_s: Seconds between two looks at a state.
        clock: Monotonic seconds.
        sleep: Sleeps for some seconds.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        program: str = SC,
        timeout: float = 60,
        poll_s: float = 0.2,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport = transport
        self._program = program
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
        """Ask a driver to unload; it stays in STOP_PENDING while handles are open, see :meth:`wait_state`."""
        self._one(("stop", _checked(name)))

    def delete(self, name: str) -> None:
        """Delete a service."""
        self._one(("delete", _checked(name)))

    def query(self, name: str) -> ServiceStatus:
        """State of a service; a missing one raises :class:`~lab.errors.ServiceError` 1060."""
        reply = self.batch([("query", _checked(name))])[0]
        if reply.code == 1 and "STATE" not in reply.text:
            # A sc that hides its reasons has only one for refusing to query.
            reply = ScReply(command=reply.command, code=DOES_NOT_EXIST, text=reply.text)
        return parse_status(reply.check().text)

    def exists(self, name: str) -> bool:
        """Whether there is a service of this name."""
        try:
            self.query(name)
        except ServiceError as error:
            if error.exit_code == DOES_NOT_EXIST:
                return False
            raise
        return True

    def install(self, name: str, image_path: str, *, group: str = "") -> None:
        """Create and start; a failed start leaves the created service."""
        for reply in self.batch([create_call(name, image_path, group=group), ("start", _checked(name))], until_error=True):
            reply.check()

    def restart(self, name: str) -> None:
        """Stop and start; a service that was not running is just started."""
        stopped, started = self.batch([("stop", _checked(name)), ("start", name)])
        # Where the guest does not tell why the stop failed, the start decides.
        if stopped.code not in (0, 1, NOT_ACTIVE):
            stopped.check()
        started.check()

    def remove(self, name: str) -> None:
        """Stop and delete; a service that is stopped, or not there, is no error."""
        stopped, deleted = self.batch([("stop", _checked(name)), ("delete", name)])
        if stopped.code not in (0, 1, NOT_ACTIVE, DOES_NOT_EXIST):
            stopped.check()
        if deleted.code == DOES_NOT_EXIST or (deleted.code == 1 and not self.exists(name)):
            return
        deleted.check()

    def wait_state(self, name: str, *states: ServiceState, timeout: float = 30) -> ServiceStatus:
        """Poll until the service is in one of ``states``.

        Raises:
            GuestHung: It is not there in time; the message names the state it is in.
        """
        started = self._clock()
        while True:
            status = self.query(name)
            if status.state in states:
                return status
            if self._clock() - started >= timeout:
                wanted = " or ".join(state.name for state in states)
                raise GuestHung(
                    f"service {name} is {status.state.name} after {timeout:g} s, not {wanted}",
                    hint="open handles and pended requests keep a driver from unloading",
                )
            self._sleep(self._poll_s)

    def batch(self, calls: Sequence[Sequence[str]], *, until_error: bool = False) -> list[ScReply]:
        """Make several sc calls and collect how each ended.

        Args:
            calls: Argument lists behind ``sc``.
            until_error: End at the first call that fails; the list of replies is shorter then.

        Returns:
            One reply per call that was made, in order.

        Raises:
            GuestHung: A call did not end in time; those behind it were not made.
        """
        replies: list[ScReply] = []
        for call in calls:
            result = self._transport.run((self._program, *call), timeout=self._timeout, shell=False)
            replies.append(read_reply("sc " + " ".join(call), result))
            if until_error and replies[-1].code:
                break
        return replies

    def _one(self, call: Sequence[str]) -> None:
        self.batch([call])[0].check()


def create_call(name: str, image_path: str, *, group: str = "", start: Start = "demand") -> tuple[str, ...]:
    """The arguments of ``sc create`` for a driver; ``type=`` and its value are two arguments, as sc wants them."""
    call = ("create", _checked(name), "type=", "kernel", "start=", start, "binPath=", image_path)
    return (*call, "group=", group) if group else call


def read_reply(command: str, result: CommandResult) -> ScReply:
    """What one sc call came to.

    Args:
        command: The call, for the reply.
        result: The finished guest command.
    """
    code = result.exit_code
    told = _WINE_FAILED.search(result.error_text)
    if code == 1 and told:
        code = int(told.group(1))
    return ScReply(command=command, code=code, text="\n".join(t for t in (result.text.strip(), result.error_text.strip()) if t))


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"not a service name: {name!r}", hint="letters, digits, dot, dash and underscore, at most 80")
    return name
