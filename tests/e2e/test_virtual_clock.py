"""A guest with a virtual clock: it runs only during a wait for it, and its own waits take the host almost no time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.running import ROOT, FinishedRun

pytestmark = pytest.mark.e2e

METRONOME = ROOT / "tests" / "e2e" / "metronome"

SUITE = """
import re
import socket
import threading

import psutil
import pytest

from lab.suite import DeviceReader, LiveGuest, PrintStream

pytestmark = pytest.mark.lab_driver("async", reload=False)
MINUTE = 60


def processor_s(guest: LiveGuest) -> float:
    times = psutil.Process(guest.machine.pid).cpu_times()
    return times.user + times.system


def uptime_s(reader: DeviceReader) -> float:
    return reader.run("tick").operations[0].start_us / 1e6


def test_it_stands_still_while_the_test_does_something_else(guest: LiveGuest, reader: DeviceReader) -> None:
    begin, used = uptime_s(reader), processor_s(guest)
    threading.Event().wait(20)
    used = processor_s(guest) - used
    passed = uptime_s(reader) - begin
    assert used < 20 * 0.05
    assert passed < 20, 'it would be minutes if the guest ran'


def test_a_minute_of_its_time_is_slept(guest: LiveGuest, reader: DeviceReader, prints: PrintStream) -> None:
    begin = uptime_s(reader)
    guest.sleep(MINUTE)
    assert MINUTE - 0.1 <= uptime_s(reader) - begin < 2 * MINUTE
    assert len(reader.read(length=13)) == 1  # the driver, its service and the connection have survived that
    prints.expect([re.compile("当前DPC Irp: 0x[0-9a-f]+"), "读取DPC长度: 13"])


def test_its_service_has_no_time_out_while_nothing_runs(guest: LiveGuest) -> None:
    assert guest.run_until(lambda: guest.services.query("LySharkAsync").state.name == "RUNNING", guest_timeout=30)


def test_a_login_over_ssh_may_take_the_host_its_time(guest: LiveGuest) -> None:
    # sshd has a limit of two minutes by default, which the guest reaches within 2 s of this wait.
    with guest.running(), socket.create_connection(("127.0.0.1", guest.machine.ports[22]), timeout=30) as client:
        assert client.recv(100).startswith(b"SSH-2.0-")
        threading.Event().wait(5)
        client.sendall(b"SSH-2.0-test\\r\\n")
        assert b"curve25519" in client.recv(4000)


@pytest.mark.lab_clock("real")
def test_a_test_may_want_the_hosts_time(guest: LiveGuest, reader: DeviceReader) -> None:
    begin = uptime_s(reader)
    guest.sleep(2)
    assert uptime_s(reader) - begin >= 2


def test_a_sleep_of_the_host_is_pointed_out(guest: LiveGuest) -> None:
    import time

    assert guest.clock == "virtual"
    time.sleep(0.01)
"""


def test_time_passes_only_while_it_is_waited_for(tmp_path: Path, finish_run: Callable[..., FinishedRun]) -> None:
    (tmp_path / "test_clock.py").write_text(SUITE, encoding="utf-8")
    drivers = ("--driver", str(ROOT / "driver" / "async"), "--driver", str(METRONOME))
    # Not in the checkout, whose pytest makes warnings errors.
    suites = (str(tmp_path / "test_clock.py"), shutil.copy(METRONOME / "suite_metronome.py", tmp_path))
    run = finish_run("--clock", "virtual", "--workers", "1", *drivers, *suites)
    assert run.exit_code == 0, run.output
    assert run.report.totals == {"passed": 10}
    clocks = {test.nodeid.rpartition("::")[2]: test.clock for test in run.report.tests}
    assert [name for name, clock in clocks.items() if clock == "real"] == ["test_a_test_may_want_the_hosts_time"]
    assert "time.sleep(0.01) on the host lets no time pass in a guest with a virtual clock" in run.output
    assert "virtual clock" in (run.out / "report.html").read_text(encoding="utf-8")
