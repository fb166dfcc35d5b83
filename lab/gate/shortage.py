"""Failures that a driver may have for a good reason while Driver Verifier fails its allocations on purpose.

A sound driver that gets no memory refuses the request, or its own start, with an error, and gives back what it had. That is
what the checks ``low_resources`` and ``systematic`` want to see; but a test that was written for a guest with enough memory
fails by it. No exception tells such a refusal from a wrong answer.
"""

from __future__ import annotations

from lab.errors import CommandFailed, ServiceError
from lab.gate.blame import judges_the_driver

#: Win32 errors ERROR_NOT_ENOUGH_MEMORY, ERROR_NO_SYSTEM_RESOURCES, ERROR_COMMITMENT_LIMIT, and the NTSTATUS values that they
#: are made from: STATUS_NO_MEMORY, STATUS_INSUFFICIENT_RESOURCES, STATUS_COMMITMENT_LIMIT.
_NO_MEMORY = frozenset({8, 1450, 1455, 0xC0000017, 0xC000009A, 0xC000012D})

#: What reports say about such a failure.
ON_PURPOSE = "allocations were failed on purpose"


def may_be_a_refusal(error: BaseException) -> bool:
    """Whether a failure may be the sound answer of a driver that got no memory.

    Args:
        error: An exception that is held against a driver: an assertion; a command of the suite, whose exit code seldom is the
            driver's error; or an error of the service manager, whose code is. A hang is none, nor is a start or stop that
            ends with another error.
    """
    if isinstance(error, ServiceError):
        return error.exit_code & 0xFFFFFFFF in _NO_MEMORY
    return isinstance(error, CommandFailed) or judges_the_driver(error)
