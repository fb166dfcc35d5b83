"""Which failures are about time, and how long a guest may wait for a processor before they do not count against its driver.

A deadline that passed and a wrong interval accuse a driver only if its guest had processor time. Everything else that a test
says (a wrong text, a wrong order, a wrong code) is just as wrong on a busy host.
"""

from __future__ import annotations

from lab.errors import GuestHung, ServiceError, TimingFailed
from lab.prints.matching import PrintsMissing
from lab.vm.processor_time import ProcessorTime
from lab.vm.spec import Clock

#: If the VM waited for a processor for this share of a test's time or more, intervals prove nothing. By experiment: a process
#: with a timer of a second and little to do, like an idle guest, on a host of two cores at a load of 12 to 16. Its timer was
#: late by the same part of a second as it waited, on average, and the worst of five by twice that or more: share 0.09, late by
#: 0.04 s, at worst 0.09 s; 0.28: 0.31 and 0.44 s; 0.38: 0.41 and 1.19 s. Suites allow their ticks a tenth at least where the
#: clock is real.
STARVED_SHARE = 0.1
#: The same for deadlines, which are ten seconds or more where the answer takes parts of one. Only a host that took most of that
#: time explains a missed one: a print that never comes is missed on any host. In a run with six workers on two cores, 79 of 81
#: sound tests of the suites waited for a tenth of their time or more. A test that waits for such a print does little meanwhile,
#: so that its guest waits for a small part of that time.
MISSED_SHARE = 0.5
#: ERROR_SERVICE_REQUEST_TIMEOUT: the service manager's own deadline, thirty seconds of the guest, has passed.
_SERVICE_LATE = 1053


def excused_from(error: BaseException, clock: Clock = "real") -> float | None:
    """Share of waiting from which an exception does not count against a driver; None: it is not about the host's time alone.

    Args:
        error: What failed.
        clock: The guest's. No host is too busy for intervals of a virtual one: the guest counts its own instructions. The
            deadlines of the lab are the host's with either clock.
    """
    if isinstance(error, GuestHung | PrintsMissing):
        return MISSED_SHARE
    if clock == "virtual":
        return None
    if isinstance(error, ServiceError):
        return MISSED_SHARE if error.exit_code == _SERVICE_LATE else None
    return STARVED_SHARE if isinstance(error, TimingFailed) else None


def starved_words(processor: ProcessorTime, *, repeated: bool, again: bool) -> str:
    """Why a failure about time proves nothing about the driver, and what the lab does about it.

    Args:
        processor: The figures.
        repeated: It is the second run of the test.
        again: The test is run again.
    """
    end = ", in its second run too" if repeated else "; it is run again in a fresh guest" if again else ""
    return f"failed by time while its guest {processor.text}{end}"
