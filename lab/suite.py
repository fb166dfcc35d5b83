"""The names that suites import: codes, fields, and the types of the fixtures' values; docs/fixtures.md has examples."""

from __future__ import annotations

from lab.errors import TimingFailed
from lab.guest.ioctl import ctl_code
from lab.guest.probe import Operation, ProbeResult, ProbeScript, ReadResult, Transfer
from lab.guest.protocol import CommandResult
from lab.guest.services import ServiceState
from lab.live.guest import LiveGuest
from lab.plugin.drivers import LoadedDriver
from lab.plugin.fixtures import Client
from lab.plugin.options import LabConfig
from lab.plugin.reader import DeviceReader
from lab.plugin.timing import timing
from lab.prints.fields import fields
from lab.prints.record import PrintRecord
from lab.prints.stream import PrintMismatch, PrintStream

__all__ = [
    "Client",
    "CommandResult",
    "DeviceReader",
    "LabConfig",
    "LiveGuest",
    "LoadedDriver",
    "Operation",
    "PrintMismatch",
    "PrintRecord",
    "PrintStream",
    "ProbeResult",
    "ProbeScript",
    "ReadResult",
    "ServiceState",
    "TimingFailed",
    "Transfer",
    "ctl_code",
    "fields",
    "timing",
]
