"""Takes the counters of measured drivers out of a guest: one script of drvprobe for each read."""

from __future__ import annotations

from lab.coverage.records import LoadRecord, parse_records, size_of
from lab.errors import CommandFailed
from lab.guest import win32
from lab.guest.ioctl import ctl_code
from lab.guest.probe import run_probe
from lab.guest.proberecords import Transfer
from lab.guest.probescript import ProbeScript
from lab.guest.protocol import Transport

#: The device of the driver that collects counters.
LINK = r"\\.\LabCoverage"
_FILE_DEVICE_UNKNOWN = 0x22
_TAKE = ctl_code(_FILE_DEVICE_UNKNOWN, 0x903)
_MORE = ctl_code(_FILE_DEVICE_UNKNOWN, 0x904)
#: Of one answer. The counters of a driver with a thousand lines fit.
_CHUNK = 0x10000
_TIMEOUT_S = 30.0


def take_counters(transport: Transport, probe: str, *, timeout: float = _TIMEOUT_S) -> tuple[LoadRecord, ...]:
    """The counters of all measured drivers that are loaded, or were unloaded since the last call.

    Args:
        transport: How to reach the guest.
        probe: Windows path of ``drvprobe.exe`` there.
        timeout: Seconds for each script.

    Raises:
        CommandFailed: The collecting driver is not loaded, or refuses.
        TransportError: The guest does not answer, or answers in a wrong format.
        GuestHung: It does not answer in time.
    """
    data = _ask(transport, probe, _TAKE, b"", timeout)
    size = size_of(data)
    while len(data) < size:
        data += _ask(transport, probe, _MORE, len(data).to_bytes(4, "little"), timeout)
    return parse_records(data)


def _ask(transport: Transport, probe: str, code: int, data: bytes, timeout: float) -> bytes:
    script = ProbeScript().open("h", LINK, share="rw").ioctl("h", code, data, out=_CHUNK).close("h")
    opened, *rest = run_probe(transport, probe, script, timeout).operations
    answer = next((one for one in rest if isinstance(one, Transfer)), None)
    error = opened.error or (answer.error if answer is not None else 0)
    if error or answer is None:
        raise CommandFailed(str(script), error, stderr=win32.describe(error), hint="is the driver `lab-coverage` loaded?")
    return answer.data
