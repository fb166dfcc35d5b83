"""Scripts for one resident drvprobe, as a driver sees them. Run by tests/e2e/test_drvprobe.py, in the free guest."""

from __future__ import annotations

import pytest

from lab.errors import GuestHung
from lab.suite import DeviceReader, LiveGuest, LoadedDriver, PrintStream, ProbeResult, ctl_code

pytestmark = pytest.mark.lab_driver("tally")

WHO = ctl_code("unknown", 0x900)
ASK = f"open h {{link}}; ioctl h {WHO} out=4"
PENDING = 997


def process(done: ProbeResult) -> int:
    """The process that the driver saw for a script."""
    [told] = [one for one in done.transfers if one.code == WHO]
    return int.from_bytes(told.data, "little")


def test_scripts_share_a_process_and_each_ends_with_its_handles_closed(reader: DeviceReader, prints: PrintStream) -> None:
    first = reader.run(f"{ASK}; open i {{link}} share=rw access=rw; write i 4 tag=t")
    second = reader.run(f"{ASK}; write h 4 tag=t")
    third = reader.run(ASK)
    assert process(first) == process(second) == process(third) != 0
    assert [one.seq for one in second.operations] == [1, 2, 3]
    assert second.by_tag["t"].error != 0, "this handle is for reading only: it is not the one of the first script"
    prints.expect([*["tally: opened"] * 2, *["tally: closed"] * 2, *["tally: opened", "tally: closed"] * 2])


def test_a_script_that_needs_a_process_of_its_own_gets_one(reader: DeviceReader) -> None:
    before = process(reader.run(ASK))
    others = [
        process(reader.run(ASK, fresh=True)),
        process(reader.run(f"{ASK}; exit 3")),
        process(reader.run(f"$p {ASK.replace('; ', '; $p ')}; go")),
    ]
    assert len({before, *others}) == 4
    assert reader.run(f"{ASK}; exit 3").exit_code == 3
    assert process(reader.run(ASK)) == before


def test_a_script_that_ends_with_a_pending_read_ends_the_process(reader: DeviceReader, driver: LoadedDriver) -> None:
    before = process(reader.run(ASK))
    left = reader.run(f"{ASK}; open o {{link}} overlapped=1; aread o 8 tag=a")
    assert (process(left), left.operations[-1].error) == (before, PENDING)
    assert process(reader.run(ASK)) != before
    driver.stop()
    driver.wait_unloaded()
    driver.start()


@pytest.mark.lab_needs("exit_cancels_io")
def test_a_pending_read_is_cancelled_when_its_script_ends(reader: DeviceReader, prints: PrintStream) -> None:
    reader.run("open o {link} overlapped=1; aread o 8")
    prints.expect(["tally: opened", "tally: a read was cancelled", "tally: closed"])


def test_a_read_that_has_ended_and_was_not_waited_for_keeps_the_process(reader: DeviceReader) -> None:
    script = f"open o {{link}} overlapped=1 access=rw; ioctl o {WHO} out=4; aread o 8 times=70; write o 1"
    first, second = reader.run(script), reader.run(script)
    assert first.operations[-1].returned == second.operations[-1].returned == 70
    assert process(first) == process(second)


def test_a_read_that_never_ends_is_a_hang_and_the_next_script_gets_another_process(reader: DeviceReader) -> None:
    before = process(reader.run(ASK))
    with pytest.raises(GuestHung, match="did not end within 3 s; it was terminated"):
        reader.run("open h {link}; read h 8", timeout=3)
    assert process(reader.run(ASK)) != before


def test_threads_end_with_their_script(reader: DeviceReader) -> None:
    script = f"{ASK}; @a open i {{link}}; @a ioctl i {WHO} out=4 tag=a; @b open j {{link}}; @b tick; go"
    processes = [{int.from_bytes(one.data, "little") for one in reader.run(script).transfers} for _ in range(3)]
    assert len(set.union(*processes)) == 1


def test_a_driver_unloads_between_two_scripts(reader: DeviceReader, driver: LoadedDriver) -> None:
    before = process(reader.run(ASK))
    for _ in range(2):
        driver.stop()
        driver.wait_unloaded(timeout=10)
        driver.start()
        assert process(reader.run(ASK)) == before


def test_a_process_that_was_ended_from_outside_is_replaced(reader: DeviceReader, guest: LiveGuest) -> None:
    before = process(reader.run(ASK))
    guest.transport.run("C:\\windows\\system32\\taskkill.exe /f /im drvprobe.exe", timeout=60).check()
    assert process(reader.run(ASK)) != before
