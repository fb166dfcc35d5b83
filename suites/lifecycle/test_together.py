"""Both drivers loaded side by side."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from lab.plugin.drivers import LoadedDriver
from lab.plugin.reader import DeviceReader
from lab.prints.stream import PrintStream
from suites.helpers import ADDRESS, SHIELD, shield_held, slots

pytestmark = pytest.mark.lab_driver("sync", "async", reload=False)


def test_one_process_reads_from_both(drivers: Mapping[str, LoadedDriver], reader: DeviceReader) -> None:
    link = drivers["async"].package.links[0]
    done = reader.run(f"open s {{link}}; open a {link} overlapped=1; aread a 13 tag=a; read s 20 tag=s; wait a")
    assert (done.by_tag["s"].returned, done.by_tag["a"].text) == (20, "hello lyshark")


def test_the_prints_of_both_come_in_the_order_of_the_reads(
    drivers: Mapping[str, LoadedDriver], reader: DeviceReader, prints: PrintStream
) -> None:
    link = drivers["async"].package.links[0]
    reader.run(f"open s {{link}}; open a {link} overlapped=0; read s 20; read a 13; read s 7")
    prints.expect(["读字节长度: 20", ADDRESS, "读取DPC长度: 13", "读字节长度: 7"])
    prints.expect_none()


def test_a_pended_read_does_not_hold_up_the_sync_driver(drivers: Mapping[str, LoadedDriver], reader: DeviceReader) -> None:
    link = drivers["async"].package.links[0]
    done = reader.run(
        f"open s {{link}}; open a {link} overlapped=1; aread a 13 times={SHIELD} tag=y; "
        "read s 20 times=3 tag=s; cancel a; wait all"
    )
    assert [(r.error, r.returned) for r in done.tagged("s")] == [(0, 20)] * 3
    # Reads are still pended when the sync driver has answered, however late that is.
    shield_held(done, "y")


def test_reloading_one_leaves_the_other_as_it_is(drivers: Mapping[str, LoadedDriver], reader: DeviceReader) -> None:
    sync, other = drivers["sync"].service, drivers["async"].service
    done = reader.run(
        f"service stop {sync}; service start {sync}; open h {{link}}; read h 20 times=2; "
        f"service stop {other}; service start {other}; read h 20 times=3"
    )
    assert [r.text for r in done.reads] == slots("ABCDE")


def test_unloading_the_sync_driver_leaves_pended_reads_alone(drivers: Mapping[str, LoadedDriver], reader: DeviceReader) -> None:
    link, service = drivers["async"].package.links[0], drivers["sync"].service
    done = reader.run(
        f"open a {link} overlapped=1; aread a 13 tag=x; wait x; aread a 13 tag=y; "
        f"service stop {service}; wait y; service start {service}"
    )
    assert (done.by_tag["y"].error, done.by_tag["y"].text) == (0, "hello lyshark")
