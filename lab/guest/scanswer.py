r"""Reads the answers of ``sc.exe``: its exit code, the error in its text, and the status block.

The answers differ between systems, as observed:

- Windows ends with the Win32 error, and writes ``[SC] StartService FAILED 577:``. The word is translated (``失败``),
  more names may stand before it (``[SC] EnumQueryServicesStatus:OpenService FAILED 1060:``), and the labels of a status block
  are translated in some languages; numbers, and the names of states, are the same everywhere.
- Wine 10 ends with the Win32 error and writes nothing. Older ones end with 1, and have the number in their own error channel
  (``failed to open service 1060``).
- An NT-like kernel's sc ends with 0 whatever happened, and has the number in the text alone; for a service that it cannot open,
there is only the system's message.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from lab.errors import ServiceError, TransportError
from lab.guest import win32
from lab.guest.driverstatus import explain_start_error
from lab.guest.protocol import CommandResult

#: The error where the guest's sc does not report one.
UNKNOWN_ERROR = 1

_WINE_FAILED = re.compile(r":\w+ failed to [\w ]+? service (?:\w+ )??(\d+)\s*$", re.MULTILINE)
#: A number and a colon after the words; French has a blank between them, which may arrive as an escape.
_FAILED = re.compile(r"^\[SC\][^\r\n]*?\s(\d{1,10})(?:\s|\\x[0-9a-f]{2})*[:：]", re.MULTILINE)
_NAME = re.compile(r"^[^\s:][^:\n]*?\s*:\s*(\S+)\s*$", re.MULTILINE)
_STATE = re.compile(r":\s*(\d+)\s+([A-Z]+(?:_[A-Z]+)*)\s*$", re.MULTILINE)
_EXIT_CODE = re.compile(r":\s*(\d+)\s+\(0x[0-9a-f]+\)\s*$", re.MULTILINE | re.IGNORECASE)
_PID = re.compile(r"^\s*PID\s*:\s*(\d+)\s*$", re.MULTILINE)


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
        pid: Process, where the guest reports it (never for a driver on Windows).
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
        code: Win32 error, 0 for success; :data:`UNKNOWN_ERROR` where the guest's sc does not report it.
        text: What it wrote.
    """

    command: str
    code: int
    text: str

    def check(self) -> ScReply:
        """Return self, or raise :class:`~lab.errors.ServiceError` with the code in words."""
        if self.code:
            words, hint = win32.describe(self.code), win32.lookup(self.code).hint
            if self.command.startswith("sc start "):
                said, advice = explain_start_error(self.code)
                words, hint = f"{words}; {said}" if said else words, advice or hint
            if self.code == UNKNOWN_ERROR and self.text:
                words = f"it printed no error code, but: {' '.join(self.text.split())[:300]}"
            raise ServiceError(self.command, self.code, self.text, words, hint=hint)
        return self


def parse_status(text: str) -> ServiceStatus:
    """Parse the status block of ``sc query``, ``queryex``, ``start`` or ``stop``, of Windows in any language, Wine, or NT-like.

    Raises:
        TransportError: There is none in the text.
    """
    try:
        name = _NAME.search(text)
        state = next(number for number, word in _STATE.findall(text) if ServiceState.__members__.get(word) == int(number))
        codes = [int(number) for number in _EXIT_CODE.findall(text)]
        pid = _PID.search(text)
        return ServiceStatus(
            name=name[1] if name else "",
            state=ServiceState(int(state)),
            exit_code=codes[0],
            service_exit_code=codes[1] if len(codes) > 1 else 0,
            pid=(int(pid[1]) or None) if pid else None,
        )
    except (StopIteration, LookupError) as problem:
        raise TransportError(f"`sc query` answered something else: {text.strip()[:300]!r}") from problem


def read_reply(command: str, result: CommandResult) -> ScReply:
    """Read the result of one sc call. An exit code of 0 counts only if the text does not contradict it.

    Args:
        command: The call, for the reply; its second word is the action.
        result: The finished guest command.
    """
    code = result.exit_code
    if code in (0, UNKNOWN_ERROR):
        error = _FAILED.search(result.text) or _WINE_FAILED.search(result.error_text)
        code = int(error[1]) if error and int(error[1]) else code
    if code == 0:
        code = _doubted(command.split(" ")[1], result.text)
    return ScReply(command=command, code=code, text="\n".join(t for t in (result.text.strip(), result.error_text.strip()) if t))


def _doubted(verb: str, text: str) -> int:
    """The error for an exit code of 0 and a text without an error number; 0 if the text shows success."""
    if verb == "query" or not text.strip():
        return 0  # the caller checks the answer; Wine's sc writes nothing
    try:
        status = parse_status(text)
    except TransportError:
        # "[SC] DeleteService SUCCESS". The bare message of the system is no success.
        return 0 if text.lstrip().startswith("[SC] ") else UNKNOWN_ERROR
    if verb == "start" and status.state not in (ServiceState.RUNNING, ServiceState.START_PENDING):
        return status.exit_code or UNKNOWN_ERROR
    return 0
