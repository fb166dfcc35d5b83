"""The examples of docs/fixtures.md, which is made from this file; run by tests/e2e/test_drvprobe.py, in the free guest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from lab.suite import (
    Client,
    DeviceReader,
    LabConfig,
    LiveGuest,
    LoadedDriver,
    PrintStream,
    ServiceState,
    Transfer,
    ctl_code,
    fields,
    timing,
)

UPPER = ctl_code("unknown", 0x800)  # CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)
SUM = ctl_code("unknown", 0x801, "in_direct")
TURN = ctl_code("unknown", 0x802, "out_direct")
WAIT = ctl_code("unknown", 0x804)
NOTIFY = ctl_code("unknown", 0x805, access="write")
HOLD = ctl_code("unknown", 0x806)
BREAK = ctl_code("unknown", 0x807)

pytestmark = pytest.mark.lab_driver("parcel")


# reader
def test_what_a_device_answers(reader: DeviceReader) -> None:
    assert reader.write("on the shelf").returned == 12
    assert reader.flush().error == 0
    first, second = reader.read(length=32, times=2)
    assert first.text == second.text == "on the shelf"

    answer = reader.ioctl(UPPER, b"hello", out=64)
    assert (answer.data, answer.error) == (b"HELLO", 0)
    assert reader.ioctl(SUM, b"\x01\x02", out=b"\x03\x04").error == 0  # in direct: the driver reads both buffers
    assert reader.ioctl(TURN, b"abc", out=2).error == 122  # ERROR_INSUFFICIENT_BUFFER: an answer, no exception


# reader.run
def test_one_process_does_many_things(reader: DeviceReader) -> None:
    done = reader.run("open h {link} access=rw; write h text=one; read h 20 tag=first; write h hex=0a0b; read h 20; exit 3")
    assert (done.by_tag["first"].text, done.exit_code) == ("one", 3)
    assert [read.data for read in done.reads] == [b"one", b"\n\x0b"]


# reader.script
def test_an_inverted_call(reader: DeviceReader) -> None:
    script = (
        reader.script()
        .open("h", access="rw", overlapped=True)
        .aioctl("h", WAIT, out=16, tag="event")  # pended until …
        .ioctl("h", NOTIFY, b"ding")  # … another request completes it
        .wait("event", timeout_ms=5000)
        .close("h")
    )
    assert reader.run(script, timeout=30).by_tag["event"].data == b"ding"


# ProbeScript
@pytest.mark.lab_needs("cancel_one")
def test_everything_at_once(reader: DeviceReader) -> None:
    script = reader.script().open("h", reader.link, access="rw", share="rw", overlapped=True)
    script = (
        script.write("h", 4, fill=0x41).read("h", 3, buffer=8, tag="read").flush("h").aread("h", 4, tag="later").wait("later")
    )
    script = script.ioctl("h", HOLD).awrite("h", "held back", tag="write").aflush("h", tag="flush")
    script = script.sleep(200).cancel("write").cancel("flush").wait().tick().service("query", "Parcel")
    script = script.on(thread="a").read("h", 1).on(process="b").open("mine").read("mine", 1).go()
    done = reader.run(script.text("close h").exit())
    assert done.by_tag["read"].data == b"AAA"
    assert [done.by_tag[tag].error for tag in ("write", "flush")] == [995, 995]  # ERROR_OPERATION_ABORTED
    assert {read.thread for read in done.reads} == {"main", "a", "b"}


# Transfer
def test_what_a_record_tells(reader: DeviceReader) -> None:
    done = reader.run(f"open h {{link}}; ioctl h {UPPER} text=abc out=2 tag=short")
    opened, short = done.operations
    assert (opened.seq, opened.op, opened.thread, opened.handle, opened.tag) == (1, "open", "main", "h", None)
    assert isinstance(short, Transfer)
    assert (short.kind, short.code) == ("ioctl", UPPER)
    assert (short.asked, short.returned, short.error, short.status) == (2, 2, 234, 0x80000005)  # STATUS_BUFFER_OVERFLOW
    assert (short.data, short.text, short.tail_intact) == (b"AB", "AB", True)
    assert (short.input, short.input_intact) == (b"abc", True)
    assert opened.end_us <= short.start_us
    assert short.duration_s >= 0


# ProbeResult
def test_what_a_script_tells(reader: DeviceReader) -> None:
    done = reader.run("open h {link} access=rw; write h 3; @a read h 3 tag=x; @a read h 3 tag=x; go")
    assert done.exit_code == 0
    assert done.errors == [0] * len(done.operations)
    assert [transfer.kind for transfer in done.transfers] == ["write", "read", "read"]
    assert done.tagged("x") == done.reads == done.of_thread("a")
    assert done.by_tag["x"] is done.reads[-1]


# prints
def test_what_a_driver_prints(reader: DeviceReader, prints: PrintStream) -> None:
    assert [record.text.rstrip() for record in prints.load] == ["parcel: version 1.2", "parcel: ready"]
    prints.skip_load()  # or expect them
    reader.write("abc")
    reader.ioctl(SUM, b"\x01\x02")
    prints.expect(["parcel: 3 bytes written", re.compile(r"parcel: control 0x\w+, in 2, out 0")])
    prints.expect("parcel: sum 3 + 0", timeout=5)
    prints.expect_none(wait=0.1)
    assert prints.texts() == [record.text.rstrip() for record in prints.records()]


# fields
def test_numbers_in_prints(reader: DeviceReader, prints: PrintStream) -> None:
    reader.ioctl(UPPER, b"hello", out=64)
    [control] = prints.expect(fields("parcel: control {code:x}, in {size:d}, out {room:d}"), skip_others=True)
    assert (control["code"], control["size"], control["room"]) == (UPPER, 5, 64)

    reader.write(7)
    pattern = re.compile(r"parcel: (?P<size>\d+) bytes (?P<what>\w+)")
    [written] = prints.expect([fields(pattern, size="d").where(size=7)])
    assert written.fields == {"size": 7, "what": "written"}


# PrintRecord
def test_what_a_print_tells(reader: DeviceReader, prints: PrintStream) -> None:
    reader.flush()
    last = prints.drain()[-1]
    assert last.text.rstrip() == last.raw.decode().rstrip() == "parcel: flushed"
    assert (last.source, last.by_kernel, last.unlike_nt) == ("wine", False, False)  # kd or relay on Windows
    assert not last.in_step  # of a debugged kernel, which waits for its host with every print
    assert last.when == last.guest_time  # seconds; host_time is the host's
    assert last.host_time > 1e9
    assert last.sequence > prints.load[0].sequence
    assert last.thread is not None
    assert last.cpu is None  # if the source reports it
    assert (last.component, last.level) in ((101, 3), (0, 1), (None, None))
    assert dict(last.fields) == {}


# driver
def test_a_driver_is_loaded_and_unloaded(lab_driver: LoadedDriver, reader: DeviceReader) -> None:
    assert (lab_driver.name, lab_driver.service, lab_driver.package.links) == ("parcel", "Parcel", (r"\\.\Parcel",))
    reader.write("gone with the driver")
    lab_driver.reload()
    assert reader.read(length=20)[0].returned == 0
    lab_driver.stop()
    lab_driver.wait_unloaded()
    assert lab_driver.state() is ServiceState.STOPPED
    lab_driver.start()
    lab_driver.wait_state(ServiceState.RUNNING, timeout=10)


# drivers
@pytest.mark.lab_driver("parcel", reload=False)
def test_several_drivers(drivers: Mapping[str, LoadedDriver]) -> None:
    assert drivers["parcel"].state() is ServiceState.RUNNING


# client
def test_a_client_program(lab_client: Client) -> None:
    done = lab_client("drvprobe", "-", stdin=b"tick; exit 3", timeout=60)
    assert done.exit_code == 3
    assert done.text.startswith('{"seq":1,"op":"tick"')
    assert (done.error_text, done.stderr) == ("", b"")
    assert done.stdout.endswith(b"\n")
    assert "drvprobe" in done.command
    assert done.duration_s > 0
    assert lab_client("drvprobe", "tick").check().exit_code == 0  # check() raises for any other code


# guest
@pytest.mark.lab_fresh
def test_a_guest(guest: LiveGuest, tmp_path: Path) -> None:
    assert "driver_load" in guest.capabilities
    assert guest.services.exists("Parcel")
    # No driver is loaded for a test that asks for the guest alone; one of an earlier test may still be.
    assert guest.services.query("Parcel").state in (ServiceState.STOPPED, ServiceState.RUNNING)
    (tmp_path / "note.txt").write_text("hello", encoding="utf-8")
    guest.transport.put(tmp_path / "note.txt", r"C:\lab\note.txt")
    assert guest.transport.run(r"type C:\lab\note.txt", timeout=60).text.strip() == "hello"
    guest.transport.get(r"C:\lab\note.txt", tmp_path / "back.txt")
    assert guest.alive
    assert guest.answers()
    assert guest.guest_id
    assert guest.manifest.guest  # what it is, in words
    # Time passes in the guest, also where the guest has a clock of its own; time.sleep would pass on the host alone.
    guest.sleep(0.5)
    with guest.running():
        pass  # what talks to the guest by other ways than the lab's, for example by a forwarded port
    assert guest.clock in ("virtual", "real")
    assert guest.run_until(lambda: guest.services.exists("Parcel"), guest_timeout=10)


# lab_config
def test_options(lab_config: LabConfig) -> None:
    assert lab_config.keep in ("never", "failed", "always")


# lab_cpus
@pytest.mark.lab_cpus(2)
def test_two_processors(guest: LiveGuest) -> None:
    assert guest.smp == 2


# lab_clock
@pytest.mark.lab_clock("real")
def test_the_hosts_time(guest: LiveGuest) -> None:
    assert guest.clock == "real"


# lab_expect_fault
@pytest.mark.lab_expect_fault(0xC0000005)
def test_a_fault_that_is_wanted(reader: DeviceReader) -> None:
    reader.ioctl(BREAK)


# timing
def test_an_answer_in_time(reader: DeviceReader) -> None:
    answer = reader.ioctl(UPPER, b"hello", out=64)
    assert answer.data == b"HELLO"  # a wrong text is wrong on a busy host, too
    with timing("the driver answers at once"):
        assert answer.duration_s < 1
