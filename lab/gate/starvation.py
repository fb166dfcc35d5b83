"""Which failures are about time, and from which share of waiting on a guest counts as starved.

A deadline that passed and a wrong interval accuse a driver only if its guest had processor time. Everything else that a test
says (a wrong text, a wrong order, a wrong code) is as wrong on a busy host.
"""

from __future__ import annotations

from lab.errors import GuestHung, ServiceError, TimingFailed
from lab.vm.processor_time import ProcessorTime

#: From this part of a test's time on in which its virtual machine waited for a processor, nothing is concluded from time.
#: By experiment: a process with a timer of a second and little to do, like an idle guest, on a host of two cores at a load of
#: 12 to 16. Its timer was late by the same part of a second as it waited, on average, and the worst of five by twice that or
#: more: share 0.09, late by 0.04 s, at worst 0.09 s; 0.28: 0.31 and 0.44 s; 0.38: 0.41 and 1.19 s. Suites allow their ticks a
#: tenth at least where the clock is real.
STARVED_SHARE = 0.1
#: ERROR_SERVICE_REQUEST_TIMEOUT: the service manager's own deadline, thirty seconds of the guest, has passed.
_SERVICE_LATE = 1053


def is_starved(processor: ProcessorTime | None) -> bool:
    """Whether a guest got too little processor time; one of which that is unknown did not, so that nothing is excused by it."""
    return processor is not None and processor.share >= STARVED_SHARE


def is_about_time(error: BaseException) -> bool:
    """Whether an exception says that something came too late, too early or not before a deadline, and no more than that."""
    if isinstance(error, ServiceError):
        return error.exit_code == _SERVICE_LATE
    return isinstance(error, TimingFailed | GuestHung)


def starved_words(processor: ProcessorTime, *, repeated: bool, again: bool) -> str:
    """Why a failure about time says nothing about the driver, and what is done about it.

    Args:
        processor: The figures.
        repeated: It is the second run of the test.
        again: The test is run again.
    """
    end = ", in its second run too" if repeated else "; it is run again in a fresh guest" if again else ""
    return f"failed by time while its guest {processor.text}{end}"
