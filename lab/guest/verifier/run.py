"""Runs ``verifier`` in a guest: switches a profile on in one way, and reads what is in force."""

from __future__ import annotations

from lab.errors import CommandFailed
from lab.guest.protocol import CommandResult, Transport
from lab.guest.verifier.query import VerifierState, parse_query
from lab.guest.verifier.ways import REBOOT_NEEDED, VERIFIER, Attempt, windows_build

_TIMEOUT_S = 120.0
#: What people saw from `verifier /query`: 0 mostly, 2 where a restart is still needed for other settings.
_QUERY_DONE = (0, REBOOT_NEEDED)


def read_build(transport: Transport) -> int:
    """The build number of the guest's Windows.

    Raises:
        TransportError: It does not say.
    """
    return windows_build(transport.run("ver", timeout=_TIMEOUT_S).check().text)


def switch_on(transport: Transport, attempt: Attempt) -> bool:
    """Give the commands of one way.

    Returns:
        Whether a restart is needed for the settings to work.

    Raises:
        CommandFailed: Windows refused; the message has what it printed.
    """
    reboot = False
    for arguments in attempt.commands:
        result = _run(transport, arguments)
        if result.exit_code not in (0, REBOOT_NEEDED):
            raise _refused(arguments, result)
        reboot = reboot or result.exit_code == REBOOT_NEEDED
    # Settings in the registry need one, whatever the exit code says.
    return reboot or attempt.way == "reboot"


def finish(transport: Transport, attempt: Attempt) -> None:
    """Give the commands that a way needs once its checks are in force.

    Raises:
        CommandFailed: Windows refused.
    """
    for arguments in attempt.after:
        result = _run(transport, arguments)
        if result.exit_code:
            raise _refused(arguments, result)


def read_state(transport: Transport) -> VerifierState:
    """What is in force now, as ``/query`` prints it.

    Raises:
        TransportError: It is not readable.
        CommandFailed: Windows refused the question.
    """
    result = _run(transport, ("/query",))
    if result.exit_code not in _QUERY_DONE:
        raise _refused(("/query",), result)
    return parse_query(result.text)


def _run(transport: Transport, arguments: tuple[str, ...]) -> CommandResult:
    return transport.run([VERIFIER, *arguments], timeout=_TIMEOUT_S, shell=False)


def _refused(arguments: tuple[str, ...], result: CommandResult) -> CommandFailed:
    return CommandFailed(" ".join(["verifier", *(word or '""' for word in arguments)]), result.exit_code, result.text)
