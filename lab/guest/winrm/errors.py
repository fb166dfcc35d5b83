"""What can go wrong with a WinRM request, in words; the library's exceptions are translated here."""

from __future__ import annotations

import requests
from winrm.exceptions import InvalidCredentialsError, WinRMTransportError, WSManFaultError

from lab.errors import TransportError
from lab.guest.winrm.channel import ChannelLostError

_SHELL_GONE = frozenset(
    {
        2150858843,  # the shell was not found: it timed out, or the service was restarted
        2150859174,  # too many commands for this user: the old shell must be closed
        2147943418,  # the shell's registry key is marked for deletion
    }
)


class LoginRejected(TransportError):
    """The guest does not accept the credentials. More tries may lock the account."""


class ServiceFault(TransportError):
    """The guest's service answered, with an error."""


class Refused(Exception):
    """A request failed. It says whether the request certainly did nothing in the guest. Only used inside this package.

    Attributes:
        is_fault: The service answered with this error.
        shell_gone: The shell must be opened again.
        win32: The Windows error of a program that did not start, where it is one.
        harmless: Nothing was started; the request may be sent again.
    """

    def __init__(self, text: str, *, fault: WSManFaultError | None = None, problem: Exception | None = None) -> None:
        super().__init__(text)
        self.is_fault = fault is not None
        code = fault.wsman_fault_code if fault is not None else None
        self.shell_gone = code in _SHELL_GONE
        # Small numbers are Windows errors, here of CreateProcess; WinRM's own begin at 0x80330000.
        self.win32 = code if code is not None and 0 < code < 0x10000 else None
        refused_http = isinstance(problem, WinRMTransportError) and problem.code in (400, 401, 403)
        # The service sends these before it reads the message: the authentication of the connection is lost.
        self.harmless = self.shell_gone or refused_http or isinstance(problem, InvalidCredentialsError | ChannelLostError)
        self._rejected = isinstance(problem, InvalidCredentialsError | PermissionError)

    def as_error(self) -> TransportError:
        """The error for callers."""
        if self._rejected:
            return LoginRejected(str(self), hint="check that the credentials belong to this build of the image")
        return ServiceFault(str(self)) if self.is_fault else TransportError(str(self))


def fault_text(fault: WSManFaultError) -> str:
    """The service's own words and its number."""
    code = f" (code {fault.wsman_fault_code})" if fault.wsman_fault_code is not None else ""
    return f"the guest refused: {' '.join(fault.reason.split())}{code}"


def problem_text(problem: Exception) -> str:
    """Why there was no usable answer."""
    if isinstance(problem, InvalidCredentialsError | PermissionError):
        return "the guest rejected the credentials"
    if isinstance(problem, ChannelLostError):
        return str(problem)
    if isinstance(problem, WinRMTransportError):
        return f"HTTP status {problem.code}"
    if isinstance(problem, requests.ConnectTimeout):
        return "no connection within the deadline"
    if isinstance(problem, requests.Timeout):
        return "no answer within the deadline"
    if isinstance(problem, requests.ConnectionError):
        return _connection_text(problem)
    return f"the answer is not WinRM ({type(problem).__name__}: {str(problem)[:200]})"


def _connection_text(problem: BaseException) -> str:
    """The operating system's own words, which the libraries wrap several times."""
    seen: list[BaseException] = [problem]
    for one in seen:
        inner = [one.__cause__, one.__context__, getattr(one, "reason", None), *getattr(one, "args", ())]
        seen.extend(i for i in inner if isinstance(i, BaseException) and i not in seen)
        if isinstance(one, OSError) and one.strerror and not isinstance(one, requests.RequestException):
            return one.strerror.lower()
    return "the guest closed the connection"
